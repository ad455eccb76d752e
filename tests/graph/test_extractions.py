"""What records of extractions hold, and what an erasure makes of it."""

from graph.claims import Claim, EntityClaim, RelationshipClaim
from graph.extractions import packed, unpacked
from graph.mentions import Names

CLAIMS: list[Claim] = [
    EntityClaim(
        "duty:p/1", "Duty", "collection:all", {"name": "Zoe Quill must go", "quote": "q"}, "p.md", 0.7
    ),
    RelationshipClaim("duty:p/1", "STATED_IN", "passage:p", "p.md", 0.7),
]


def test_claims_are_unpacked_as_they_were() -> None:
    assert unpacked(packed(CLAIMS)) == CLAIMS


def test_an_erased_person_is_found_in_them_and_leaves_a_pseudonym() -> None:
    names = Names({"person:zoe": "person:erased-1"}, frozenset({"Zoe Quill"}))
    row = {"statement": "Zoe Quill must go", "claims": packed(CLAIMS)}
    assert names.within({"claims": row["claims"]})
    left = names.replaced(row)
    assert not names.within(left)
    [duty, stated] = unpacked(left["claims"])
    assert isinstance(duty, EntityClaim)
    assert duty.values["name"] == "person:erased-1 must go"
    assert stated == CLAIMS[1]
