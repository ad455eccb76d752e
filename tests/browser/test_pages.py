"""The pages as a browser shows them: a real one, on the sample organization."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from tests.browser.webdriver import CHROMIUM, DRIVER, Browser, browser
from tests.service_process import Served

pytestmark = pytest.mark.skipif(
    CHROMIUM is None or DRIVER is None, reason="needs Debian's chromium and chromium-driver"
)

QUESTION = "What is the individual deductible of the Larkspur Harbor PPO?"


@pytest.fixture(scope="module")
def window(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with browser(tmp_path_factory.mktemp("browser")) as opened:
        yield opened


@pytest.fixture(autouse=True)
def quiet(window: Browser, sample: Served) -> Iterator[None]:
    """Nothing is refused or fails on a page, and nothing is asked of another host."""
    window.open("about:blank")
    window.forget()
    yield
    assert window.complaints() == []
    assert {host for host in window.hosts() if f"http://{host}" != sample.url} == set()


def sign_in(window: Browser, sample: Served, person: str) -> None:
    window.open(f"{sample.url}/#token={sample.token(person)}")
    window.wait(
        "return document.querySelector('#who').textContent === arguments[0]"
        " && document.querySelector('#classes a')",
        person,
    )


def ask(window: Browser, question: str) -> str:
    window.type("#question", question)
    window.press("Enter")
    window.wait("return document.querySelector('#answer .outcome')", seconds=120)
    return window.text("#answer")


def test_the_token_goes_from_the_address_as_soon_as_it_is_read(window: Browser, sample: Served) -> None:
    sign_in(window, sample, "priya.raman")
    assert window.run("return location.href") == f"{sample.url}/"


def test_a_person_browses_from_a_class_to_an_entity_and_its_neighbours(
    window: Browser, sample: Served
) -> None:
    sign_in(window, sample, "priya.raman")
    assert "Person 60" in window.text("#classes")
    window.click("#classes a[href='#class=Person']")
    window.wait("return document.querySelectorAll('#entities a').length === 50")
    window.click("#more")
    window.wait("return document.querySelectorAll('#entities a').length === 60")
    window.click("#entities a[title='person:priya.raman']")
    window.wait("return document.querySelector('#entity h3')?.textContent === 'Priya Raman'")
    assert "priya.raman@harborview.example" in window.text("#entity")
    window.click("#entity a[title='group:brokers']")
    window.wait("return document.querySelector('#entity h3')?.textContent === 'brokers'")
    window.run("history.back()")
    window.wait("return document.querySelector('#entity h3')?.textContent === 'Priya Raman'")


def test_an_answer_comes_with_its_facts_its_node_and_why(window: Browser, sample: Served) -> None:
    sign_in(window, sample, "priya.raman")
    answer = ask(window, QUESTION)
    assert "1,850" in window.text("#answer .text")
    assert "passage:plans/larkspur-harbor-ppo.pdf" in answer
    assert "boston-cpu (smollm2)" in answer
    assert "under the law of CA, not of EU or US" in answer


def test_the_next_person_sees_nothing_of_the_last_one(window: Browser, sample: Served) -> None:
    sign_in(window, sample, "priya.raman")
    ask(window, QUESTION)
    sign_in(window, sample, "carlos.ibarra")
    assert window.text("#answer") == window.text("#entity") == window.text("#entities") == ""
    answer = ask(window, QUESTION)
    assert answer.lower().startswith("not known")
    assert "larkspur" not in answer.lower()
    window.click("#sign-out")
    assert window.run("return sessionStorage.length") == 0
    assert "Not known" not in window.text("body")


def test_text_of_a_source_is_never_markup(window: Browser, sample: Served) -> None:
    """Whatever the service says, even in place of every text, the page makes no element of it."""
    sign_in(window, sample, "priya.raman")
    window.run(
        """
        Response.prototype.json = async function () {
          return JSON.parse(await this.text(), function (key, value) {
            const isClass = key === "name" && "label" in this;
            return typeof value === "string" && !isClass ? `${value}<img src=x onerror=alert(1)>` : value;
          });
        };
        """
    )
    window.run("location.hash = '#class=Person'")
    window.wait("return document.querySelector('#entities').textContent.includes('<img')")
    window.run("location.hash = '#entity=person:priya.raman'")
    window.wait("return document.querySelector('#entity').textContent.includes('<img')")
    assert "<img" in ask(window, QUESTION)
    assert window.run("return document.querySelectorAll('img').length") == 0


def test_what_goes_wrong_is_said(window: Browser, sample: Served) -> None:
    window.open(f"{sample.url}/#token=nonsense")
    window.wait("return !document.querySelector('#error').hidden")
    assert "orgraph token" in window.text("#error")
    assert window.run("return document.querySelector('main').hidden")
    [refusal] = window.complaints()
    assert "401" in refusal


def test_the_page_can_be_used_with_the_keyboard_alone(window: Browser, sample: Served) -> None:
    window.open(f"{sample.url}/")
    window.run("sessionStorage.clear()")
    window.open(f"{sample.url}/?signed-out")
    window.type("#token", sample.token("priya.raman"))
    window.press("Enter")
    window.wait("return document.querySelector('#classes a')")
    window.run("document.querySelector('#ask button').focus()")
    window.press("Tab")
    assert window.run("return document.activeElement.closest('#classes') !== null")
    window.press("Enter")
    window.wait("return document.querySelectorAll('#entities a').length > 0")


def test_graphiql_runs_a_query_as_the_person(window: Browser, sample: Served) -> None:
    window.open(f"{sample.url}/graphql#token={sample.token('priya.raman')}")
    window.wait("return document.querySelector('.graphiql-execute-button')")
    window.click(".graphiql-execute-button")
    shown = window.wait("return document.querySelector('.result-window .CodeMirror')?.CodeMirror.getValue()")
    classes = json.loads(shown)["data"]["classes"]
    assert {"name": "Person", "count": 60} in classes


def choose(window: Browser, field: str, instant: str) -> None:
    window.run(
        "const field = document.querySelector(arguments[0]); field.value = arguments[1];"
        "field.dispatchEvent(new Event('change', { bubbles: true }))",
        field,
        instant,
    )


def test_the_past_is_browsed_and_asked_of_like_the_present(window: Browser, sample: Served) -> None:
    sign_in(window, sample, "priya.raman")
    window.run("location.hash = '#entity=person:priya.raman'")
    window.wait("return document.querySelector('#entity h3')?.textContent === 'Priya Raman'")
    assert "directory.ldif" in window.run("return document.querySelector('#entity details').textContent")
    choose(window, "#as-of", "1999-12-31T12:00")
    window.wait("return document.querySelector('#error').textContent.includes('nothing was known then')")
    later = (datetime.now(UTC) + timedelta(days=1)).strftime("%Y-%m-%dT%H:%M")
    choose(window, "#as-of", later)
    window.wait(
        "return document.querySelector('#error').hidden && !document.querySelector('#entity details li')"
    )
    assert "Person 60" in window.text("#classes")
    assert "1,850" in ask(window, QUESTION)
    choose(window, "#valid-at", "1999-12-31T12:00")  # what has no interval always held
    window.wait("return document.querySelector('#answer').textContent === ''")
    window.click("#when button")
    window.wait("return document.querySelector('#entity details li')")
    assert window.run("return document.querySelector('#as-of').value") == ""
