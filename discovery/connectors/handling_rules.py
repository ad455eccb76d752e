"""Handling rules that a policy states in its front matter.

    handling:
      applies_to: [protected-health-information]   # keys of classifications
      jurisdictions: [US]                          # optional, each of the following
      residency: [us-east, us-west]
      certifications: [HIPAA]
      clearance: 2
      silicon: [nvidia]
      excluded_silicon: [amd-mi300x]
      excluded_owners: [organization:cloudco]
      purposes: [care]
      excluded_jurisdictions: [CN]

A list of such blocks states several rules.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from discovery.connector import Problem
from graph.claims import Claim, EntityClaim, RelationshipClaim, Value, entity_id

# An empty list would permit nothing, but a value that is not there permits all: so it is refused.
_Names = Annotated[tuple[Annotated[str, Field(min_length=1)], ...], Field(min_length=1)]


class _Rule(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    applies_to: _Names
    jurisdictions: _Names | None = None
    residency: _Names | None = None
    certifications: _Names | None = None
    clearance: Annotated[int, Field(ge=0)] | None = None
    silicon: _Names | None = None
    excluded_silicon: _Names | None = None
    excluded_owners: _Names | None = None
    purposes: _Names | None = None
    excluded_jurisdictions: _Names | None = None

    def values(self) -> dict[str, Value]:
        stated: dict[str, Value | None] = {
            "jurisdiction": self.jurisdictions,
            "residency": self.residency,
            "certification": self.certifications,
            "clearance": self.clearance,
            "silicon": self.silicon,
            "excludedSilicon": self.excluded_silicon,
            "excludedOwner": self.excluded_owners,
            "purpose": self.purposes,
            "excludedJurisdiction": self.excluded_jurisdictions,
        }
        return {key: value for key, value in stated.items() if value is not None}


_RULES: TypeAdapter[tuple[_Rule, ...]] = TypeAdapter(tuple[_Rule, ...])


def handling_rules(stated: object, key: str, document: EntityClaim) -> Iterator[Claim | Problem]:
    """Claims of the `handling` block of a document, or one Problem when it is not as above.

    The rules' ids are made of `key`; they are placed and evidenced as the document is.
    """
    evidence = document.evidence
    try:
        rules = _RULES.validate_python(stated if isinstance(stated, list) else [stated])
    except ValidationError as error:
        wrong = "; ".join(
            f"{'.'.join(map(str, e['loc'][1:]))}: {e['msg']}" for e in error.errors(include_url=False)
        )
        yield Problem(evidence, f"handling: {wrong}; no rule is read from it until it is corrected")
        return
    for number, rule in enumerate(rules, start=1):
        id_ = entity_id("handling_rule", key if number == 1 else f"{key}/{number}")
        name = f"Handling of {', '.join(rule.applies_to)} by {document.values['name']}"
        values = {"name": name, **rule.values()}
        yield EntityClaim(id_, "HandlingRule", document.collection, values, evidence)
        yield RelationshipClaim(id_, "STATED_IN", document.id, evidence)
        for applied in rule.applies_to:
            yield RelationshipClaim(id_, "GOVERNS", entity_id("classification", applied), evidence)
