"""Rules of policies, as they are read out of passages: who must, may or must not do what. Terms are ODRL's.

Whoever reads a rule (its wording, or a model), all of its words stand in the passage, and nothing follows
from it but a proposal. What a model writes is data: what is not of the form, or not in the text, is dropped.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from discovery.sources import SourceConfig

Kind = Literal["duty", "permission", "prohibition"]

WORDING = "wording"
"""The extractor that goes by the words alone; a model goes by its name."""
#: Characters of a quotation and of one of its parts; a model writes less, since each word takes time.
MAX_QUOTE, MAX_PART, _MAX_WRITTEN = 1_200, 200, 80
MAX_RULES = 8
"""Rules that a model may write of one passage."""


@dataclass(frozen=True, slots=True)
class Passage:
    """A passage of a policy, as it stands in the graph."""

    id: str
    text: str
    document: str
    """The id of the policy."""
    name: str
    collection: str


@dataclass(frozen=True, slots=True)
class ExtractedRule:
    """What somebody must, may or must not do; every part in the words of the passage, empty where unsaid."""

    kind: Kind
    action: str
    quote: str
    assignee: str = ""
    target: str = ""
    place: str = ""
    until: str = ""
    is_noun: bool = field(default=False, kw_only=True)
    """Whether the action is one, as in `Processing of data is prohibited`; no part of what the rule says."""

    @property
    def parts(self) -> tuple[str, ...]:
        return self.action, self.assignee, self.target, self.place, self.until


class NotRead(Exception):  # noqa: N818  named for what happened
    """No model may or can read a source's passages now; the message says why."""


@dataclass(frozen=True, slots=True)
class ModelReading:
    """What a model made of a passage."""

    model: str
    rules: Sequence[ExtractedRule]
    dropped: Sequence[str] = ()
    """Why what it wrote beside them was dropped."""


ReadPassage = Callable[[SourceConfig, Passage], Awaitable[ModelReading]]
"""Asks a model that may read the source's passages. Raises NotRead."""

_Part = Annotated[str, Field(max_length=_MAX_WRITTEN)]


class WrittenRule(BaseModel):
    """A rule as a model writes it."""

    model_config = ConfigDict(extra="forbid", strict=True)
    sentence: int = Field(ge=1, le=99)
    """The number of the one that states it: a quotation that is copied takes longer, and may be another."""
    kind: Kind
    assignee: _Part
    action: str = Field(min_length=1, max_length=_MAX_WRITTEN)
    target: _Part
    place: _Part
    until: _Part


class WrittenRules(BaseModel):
    """The form of a model's answer."""

    model_config = ConfigDict(extra="forbid")
    rules: list[WrittenRule] = Field(max_length=MAX_RULES)


def form(most: int) -> Mapping[str, Any]:
    """The `response_format` of a request for at most so many rules, or MAX_RULES."""
    schema = WrittenRules.model_json_schema()
    schema["properties"]["rules"]["maxItems"] = min(most, MAX_RULES)
    return {"type": "json_schema", "json_schema": {"name": "rules", "schema": schema, "strict": True}}


def checked(
    written: str, sentences: Sequence[str], told_kind: Callable[[str], frozenset[str]]
) -> ModelReading:
    """The rules of a model's answer that the sentences it was given bear out; `model` is left empty.

    `told_kind`: the kinds of rules that the wording of a sentence tells, if it tells any.
    """
    try:
        rules = WrittenRules.model_validate_json(written).rules
    except ValidationError as error:
        return ModelReading("", (), (f"the answer is not of the form: {error.error_count()} errors",))
    kept, dropped = [], []
    for rule in rules:
        if rule.sentence > len(sentences):
            dropped.append("no sentence of the passage has the number that a rule tells")
            continue
        quote = sentences[rule.sentence - 1]
        parts = (rule.action, rule.assignee, rule.target, rule.place, rule.until)
        if not plain(rule.action) or any(plain(part) not in plain(quote) for part in parts):
            dropped.append("a part of a rule does not stand in its sentence")
        elif rule.kind not in told_kind(quote):
            dropped.append(f"its words do not tell a {rule.kind}")
        else:
            kept.append(ExtractedRule(rule.kind, rule.action.strip(), quote,
                                      *(" ".join(part.split()) for part in parts[1:])))  # fmt: skip
    return ModelReading("", tuple(dict.fromkeys(kept)), tuple(dropped))


def plain(text: str) -> str:
    """Words with single spaces, in lower case: so texts are compared."""
    return re.sub(r"\s+", " ", text).strip().casefold()
