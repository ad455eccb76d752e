"""What the ontology declares acyclic stays so, and only what would close a cycle is refused."""

from graphlib import CycleError, TopologicalSorter
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from graph.cycles import Edge, cycles

EDGES = st.lists(st.tuples(st.sampled_from("abcdef"), st.sampled_from("abcdef")), max_size=12)


def acyclic(edges: list[Edge]) -> bool:
    sorter = TopologicalSorter[str]()
    for start, end in edges:
        sorter.add(start, end)
    try:
        sorter.prepare()
    except CycleError:
        return False
    return True


def test_the_edge_that_closes_a_cycle_is_told_with_the_cycle() -> None:
    standing = [("team", "department"), ("department", "company")]
    assert cycles(standing, [("company", "team"), ("team", "company")]) == {
        ("company", "team"): ("company", "team", "department", "company")
    }
    assert cycles([], [("a", "a"), ("a", "b"), ("b", "a")]) == {
        ("a", "a"): ("a", "a"),
        ("b", "a"): ("b", "a", "b"),
    }


@settings(deadline=None)
@given(EDGES, EDGES)
def test_without_the_refused_edges_there_is_no_cycle_and_none_is_refused_without_need(
    standing: list[Edge], new: list[Edge]
) -> None:
    standing = [edge for edge in standing if edge not in cycles([], standing)]
    refused = cycles(standing, new)
    accepted = [edge for edge in new if edge not in refused]
    assert acyclic(standing + accepted)
    for (start, end), path in refused.items():
        assert path[:2] == (start, end)
        assert path[-1] == start
        assert set(pairwise(path)) <= {*standing, *accepted, (start, end)}
