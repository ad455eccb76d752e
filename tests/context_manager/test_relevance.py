"""How well a fact matches a question depends on the two texts alone."""

from dataclasses import replace

import pytest

from context_manager.expectation import Expectation, expected, offers
from context_manager.facts import Fact
from context_manager.relevance import (
    BOUND,
    CALLED_BOUND,
    Match,
    match,
    question_of,
    relevant,
    speaks_of,
    to_the_point,
)
from context_manager.words import stems, telling_words

VECTOR = [1.0, 0.0]


def fact(statement: str, *entities: str, title: str = "", synonyms: str = "") -> Fact:
    about = entities or ("passage:page/1",)
    return Fact(about[0], statement, title, about, ("pages",), 1.0, 1, None, None, (), synonyms)


@pytest.mark.parametrize(
    ("question", "kind"),
    [
        ("How many days of leave are there?", Expectation.NUMBER),
        ("How large may a bonus be?", Expectation.NUMBER),
        ("When does the fiscal year end?", Expectation.TIME),
        ("On which day do we meet?", Expectation.TIME),
        ("Who leads Claims?", Expectation.PERSON),
        ("What is Ada's email?", Expectation.ADDRESS),
        ("What is a deductible?", Expectation.ANYTHING),
    ],
)
def test_a_question_says_what_kind_of_answer_it_wants(question: str, kind: Expectation) -> None:
    assert expected(question) is kind


def test_a_fact_offers_a_kind_of_answer_or_does_not_or_cannot_tell() -> None:
    assert offers(fact("Paid weekly."), Expectation.NUMBER)
    assert offers(fact("Paid often."), Expectation.NUMBER) is False
    assert offers(
        fact("Ada Moss leads Claims.", "person:ada", "organizational_unit:claims"), Expectation.PERSON
    )
    assert offers(fact("Claims: about claims.", "organizational_unit:claims"), Expectation.PERSON) is False
    assert offers(fact("Ask Ada Moss."), Expectation.PERSON) is None
    assert offers(fact("anything"), Expectation.ANYTHING) is None


def test_who_may_and_those_who_march_name_no_month() -> None:
    assert offers(fact("Guests may march along."), Expectation.TIME) is False
    assert offers(fact("It opens in May."), Expectation.TIME)


def test_rare_words_tell_more_than_common_ones_and_asking_words_nothing() -> None:
    told = telling_words("How much is the deductible of the plan?")
    assert set(told) == {"deductible", "plan"}
    assert told["deductible"] > told["plan"]


@pytest.mark.parametrize(
    ("question", "word"),
    [
        ("What does Ada Moss do?", "role"),
        ("What is the Claims team there for?", "purpose"),
        ("Is Ada Moss he or she?", "pronouns"),
    ],
)
def test_what_is_asked_for_in_words_that_tell_nothing_is_told_by_its_own(question: str, word: str) -> None:
    assert word in telling_words(question)
    assert word not in telling_words("What is the price for Ada Moss?")


def test_other_words_for_a_relationship_count() -> None:
    question = question_of("Who is in charge of Claims?", VECTOR)
    plain = match(question, fact("Ada Moss leads Claims.", "person:ada", "unit:claims"), 0.5)
    known = match(
        question, fact("Ada Moss leads Claims.", "person:ada", "unit:claims", synonyms="in charge of"), 0.5
    )
    assert known.score > plain.score


def test_a_fact_that_lacks_the_kind_of_answer_falls_behind() -> None:
    question = question_of("How many days of leave are there?", VECTOR)
    counted = match(question, fact("There are 25 days of leave."), 0.5)
    uncounted = match(question, fact("There are days of leave."), 0.5)
    assert counted.score > uncounted.score


@pytest.mark.parametrize(
    ("question", "to_the_point_of"),
    [
        ("What is the mobile number of Ada Moss?", set()),
        ("What is Ada Moss's email?", {"email"}),
        ("Which country does Ada Moss live in?", {"location"}),
        ("Who is Ada Moss's boss?", {"boss"}),
        ("Ada Moss?", {"email", "location", "boss"}),
    ],
)
def test_only_the_property_that_is_asked_for_answers_about_a_person(
    question: str, to_the_point_of: set[str]
) -> None:
    ada = fact("", "person:ada", title="Ada Moss")
    facts = {
        "email": replace(
            ada,
            statement="Ada Moss: e-mail address is ada.moss@example.com.",
            synonyms="email, mail, reach",
            names=("Ada Moss",),
        ),
        "location": replace(
            ada,
            statement="Ada Moss: location is Oslo.",
            synonyms="lives, based, city",
            names=("Ada Moss",),
        ),
        "boss": replace(
            ada,
            statement="Ada Moss reports to Bo Dahl.",
            synonyms="manager, boss",
            names=("Ada Moss", "Bo Dahl"),
        ),
    }
    asked = question_of(question, VECTOR)
    assert {name for name, one in facts.items() if to_the_point(asked, one)} == to_the_point_of


def test_a_text_may_answer_in_other_words() -> None:
    assert to_the_point(question_of("What is the price?", VECTOR), fact("It costs $3."))


def test_what_has_no_date_does_not_answer_when() -> None:
    since = question_of("Since when has Ada Moss been working here?", VECTOR)
    boss = replace(
        fact("Ada Moss reports to Bo Dahl.", synonyms="works under"), names=("Ada Moss", "Bo Dahl")
    )
    assert not to_the_point(since, boss)
    assert to_the_point(question_of("Who does Ada Moss work under?", VECTOR), boss)
    assert to_the_point(since, replace(boss, statement="Ada Moss: working since is 2019."))


def test_of_whom_a_question_calls_only_what_names_them_speaks() -> None:
    called = {stems("Ada Moss")}
    ada = replace(fact("Ada Moss reports to Bo Dahl."), names=("Ada Moss", "Bo Dahl"))
    other = replace(fact("Ada Dahl: location is Oslo."), names=("Ada Dahl",))
    assert speaks_of(ada, called)
    assert not speaks_of(other, called)
    assert speaks_of(fact("Ask Ada for it."), called)
    assert speaks_of(fact("Ask me for it.", title="About Ada Moss"), called)
    assert not speaks_of(fact("Ask Bo Dahl for it."), called)


def a_match(score: float, *names: str) -> Match:
    one = replace(fact(f"scored {score}", f"x:{score}"), names=names)
    return Match(one, score, score, score, one.statement)


def test_what_the_graph_holds_of_whom_a_question_calls_has_a_bound_of_its_own() -> None:
    of_her = a_match(CALLED_BOUND, "Ada Moss")
    assert relevant([of_her], 8) == ()
    assert relevant([of_her], 8, called=True) == (of_her,)
    assert relevant([a_match(BOUND - 0.01), of_her], 8, called=True) == (of_her,)
    assert relevant([a_match(CALLED_BOUND - 0.01, "Ada Moss")], 8, called=True) == ()
    long = replace(of_her, fact=replace(of_her.fact, statement="word " * 60))
    assert relevant([long], 8, called=True) == ()


def test_nothing_below_the_bound_is_an_answer_not_even_the_best() -> None:
    assert relevant([a_match(BOUND - 0.01), a_match(0.1)], 8) == ()


def test_the_best_come_first_and_what_is_far_behind_is_left_out() -> None:
    found = relevant([a_match(0.7), a_match(0.9), a_match(0.8), a_match(0.5)], 8)
    assert [m.score for m in found] == [0.9, 0.8]
    assert [m.score for m in relevant([a_match(0.9), a_match(0.89), a_match(0.88)], 2)] == [0.9, 0.89]
