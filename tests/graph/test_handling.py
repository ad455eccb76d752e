"""The meet of handlings is a lattice's: order and repetition do not matter, and nothing is widened."""

from hypothesis import given

from graph.handling import FORBIDDEN, UNRESTRICTED, Handling, meet_all
from tests.inference.meshes import handlings


@given(handlings, handlings, handlings)
def test_the_meet_is_associative_commutative_and_idempotent(a, b, c):
    assert a.meet(b) == b.meet(a)
    assert a.meet(b).meet(c) == a.meet(b.meet(c))
    assert a.meet(a) == a
    assert meet_all([a, b, a, c, b]) == meet_all([c, b, a])


@given(handlings)
def test_unrestricted_is_the_top_and_forbidden_stays_forbidden(a):
    assert a.meet(UNRESTRICTED) == a
    assert a.meet(FORBIDDEN).jurisdictions == frozenset()
    assert meet_all([]) == UNRESTRICTED


@given(handlings, handlings)
def test_absorption_a_narrowed_handling_is_below_both(a, b):
    assert a.meet(b).meet(a) == a.meet(b)
    assert a.meet(b).meet(b) == a.meet(b)


def test_a_maker_stands_for_all_that_it_makes():
    maker, one, other = (
        Handling(silicon=frozenset({name})) for name in ("nvidia", "nvidia-l40s", "nvidia-h100")
    )
    assert maker.meet(one) == one
    assert one.meet(other).silicon == frozenset()


def test_the_record_is_json_in_order():
    record = Handling(jurisdictions=frozenset({"US", "EU"}), excluded_owners=frozenset({"b", "a"})).record()
    assert record["jurisdictions"] == ["EU", "US"]
    assert record["excluded_owners"] == ["a", "b"]
    assert record["silicon"] is None
    assert len(record) == 9
