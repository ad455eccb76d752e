"""What a model writes of a passage is data: of the form, in the text, and borne out by it, or nothing."""

import json

import pytest

from discovery.extraction import MAX_RULES, ExtractedRule, checked, form
from discovery.wording import kinds_in, telling

TEXT = telling("Staff must lock\nscreens. Lunch is at noon. Guests may not enter the lab until May 2.")


def written(**changes):
    rule = {
        "sentence": 2,
        "kind": "prohibition",
        "assignee": "Guests",
        "action": "enter",
        "target": "the lab",
        "place": "",
        "until": "until May 2",
    }
    return json.dumps({"rules": [rule | changes]})


def test_a_rule_whose_words_stand_in_the_passage_is_read():
    found = checked(written(), TEXT, kinds_in)
    assert found.dropped == ()
    assert found.rules == (
        ExtractedRule("prohibition", "enter", "Guests may not enter the lab until May 2.", "Guests", "the lab", "",
                      "until May 2"),
    )  # fmt: skip
    lines = written(sentence=1, kind="duty", assignee="Staff", action="lock",
                    target="screens", until="")  # fmt: skip
    assert [one.target for one in checked(lines, TEXT, kinds_in).rules] == ["screens"]


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"sentence": 3}, "number"),
        ({"sentence": 0}, "form"),
        ({"sentence": "2"}, "form"),
        ({"assignee": "Managers"}, "part"),
        ({"action": "burn"}, "part"),
        ({"place": "the United States"}, "part"),
        ({"target": "screens"}, "part"),  # in the passage, and not in this sentence of it
        ({"kind": "permission"}, "do not tell"),
        ({"kind": "duty"}, "do not tell"),
        ({"kind": "grant"}, "form"),
        ({"more": "x"}, "form"),
        ({"action": ""}, "form"),
        ({"action": "enter" * 100}, "form"),
    ],
)
def test_what_the_passage_does_not_bear_out_is_dropped(changes, why):
    found = checked(written(**changes), TEXT, kinds_in)
    assert found.rules == ()
    assert why in found.dropped[0]


@pytest.mark.parametrize(
    "answer", ["", "yes", "[]", "{", '{"rules": 1}', "null", json.dumps({"rules": [{}] * 99})]
)
def test_an_answer_that_is_not_of_the_form_is_nothing(answer):
    found = checked(answer, TEXT, kinds_in)
    assert found.rules == ()
    assert "form" in found.dropped[0]


def test_the_form_bounds_what_a_model_may_write():
    schema = form(99)["json_schema"]["schema"]
    assert schema["properties"]["rules"]["maxItems"] == MAX_RULES
    assert schema["additionalProperties"] is False
    assert form(2)["json_schema"]["schema"]["properties"]["rules"]["maxItems"] == 2
