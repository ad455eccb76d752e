"""Every name, number and date of a sentence stands in a fact that it cites."""

import pytest

from context_manager.grounding import Sentence, Statement, missing

FACTS = (
    Statement("Harbor PPO > Deductibles", "Individual deductible: $1,850; family deductible: $3,700."),
    Statement("Ada Moss", "Ada Moss leads Claims Operations."),
    Statement("Retention policy", "Claims are kept for 10 years.\nQuotes are kept until 2027-03-31."),
)


@pytest.mark.parametrize(
    ("text", "cites"),
    [
        ("The individual deductible of the Harbor PPO is $1,850.", (0,)),
        ("Individual deductible: 1850", (0,)),
        ("Ada Moss is leading claims operations.", (1,)),
        ("Claims are kept for 10 years.", (2,)),
        ("Quotes are kept until 2027-03-31.", (1, 2)),
    ],
)
def test_what_a_cited_fact_says_is_grounded(text: str, cites: tuple[int, ...]) -> None:
    assert missing(Sentence(text, cites), FACTS) == frozenset()


@pytest.mark.parametrize(
    ("text", "cites", "lacking"),
    [
        ("The individual deductible of the Harbor PPO is $1,580.", (0,), "1,580"),
        ("The individual deductible is $185.", (0,), "185"),
        ("Grace Moss leads Claims Operations.", (1,), "grace"),
        ("Claims are kept for 11 years.", (2,), "11"),
        ("Quotes are kept until 2027-03-30.", (2,), "2027-03-30"),
        ("Claims are kept for ten years.", (2,), "ten"),
        ("Claims are not kept for 10 years.", (2,), "not"),
        ("Ada Moss leads Claims Operations.", (0,), "moss"),
    ],
)
def test_what_no_cited_fact_says_is_named(text: str, cites: tuple[int, ...], lacking: str) -> None:
    lacks = missing(Sentence(text, cites), FACTS)
    assert lacks is not None
    assert lacking in lacks


def test_words_of_two_lines_do_not_make_a_third_fact() -> None:
    assert missing(Sentence("Quotes are kept for 10 years.", (2,)), FACTS)
    assert missing(Sentence("Ada Moss is kept for 10 years.", (1, 2)), FACTS)


@pytest.mark.parametrize(
    "sentence", [Sentence("Claims are kept for 10 years.", ()), Sentence("It is.", (2,))]
)
def test_a_sentence_that_cites_or_says_nothing_is_not_grounded(sentence: Sentence) -> None:
    assert missing(sentence, FACTS) is None
