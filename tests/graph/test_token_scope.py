"""A token's scope cuts, and never widens."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from graph.token_scope import ACTIONS, EVERYTHING, ScopeError, TokenScope, parse_scope

scopes = st.builds(
    TokenScope,
    st.frozensets(st.sampled_from(sorted(ACTIONS))),
    st.none() | st.frozensets(st.sampled_from(["collection:hr", "collection:all"]), min_size=1),
)


@given(scopes)
def test_a_scope_reads_as_it_is_written(scope: TokenScope) -> None:
    if scope.actions or scope.collections:
        assert parse_scope(str(scope)) == scope


@given(scopes, scopes, scopes)
def test_to_be_within_is_an_order_below_everything(a: TokenScope, b: TokenScope, c: TokenScope) -> None:
    assert a.within(a)
    assert a.within(EVERYTHING)
    assert not (a.within(b) and b.within(a)) or a == b
    assert not (a.within(b) and b.within(c)) or a.within(c)


def test_leaving_the_collections_out_is_wider() -> None:
    """As a set of words `read` is a part of `read collection:hr`; it permits more."""
    assert not TokenScope(frozenset({"read"})).within(parse_scope("read collection:hr"))


def test_what_is_for_the_issuer_says_nothing_here() -> None:
    assert parse_scope("openid profile  offline_access") is None
    assert parse_scope("") is None
    assert parse_scope("openid ask") == TokenScope(frozenset({"ask"}))


@pytest.mark.parametrize(
    "text", ["write", "read write", "READ", "collection:", "collections:hr", "read\task"]
)
def test_a_word_that_is_unknown_is_refused(text: str) -> None:
    with pytest.raises(ScopeError, match="is unknown; expected administer, ask, read, search or"):
        parse_scope(text)


def test_collections_without_an_action_permit_nothing() -> None:
    assert parse_scope("collection:hr") == TokenScope(frozenset(), frozenset({"collection:hr"}))
