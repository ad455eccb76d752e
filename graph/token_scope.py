"""What a token may be used for: a person's permissions are cut by it, and widened by nothing."""

from __future__ import annotations

from dataclasses import dataclass

#: What requests do: read entities; search them; ask questions; grant, deny and look into access.
ACTIONS = frozenset({"read", "search", "ask", "administer"})
_READING = frozenset({"read", "search", "ask"})
_COLLECTION = "collection:"
#: Of OpenID Connect: they are for who issues the token, and say nothing about what it may do here.
_OF_THE_ISSUER = frozenset({"openid", "profile", "email", "address", "phone", "offline_access"})


class ScopeError(ValueError):
    """A scope that means nothing here; the message names it and those that do."""


@dataclass(frozen=True, slots=True)
class TokenScope:
    """Actions, and the collections that they are cut to; None: all that the person may see."""

    actions: frozenset[str] = ACTIONS
    collections: frozenset[str] | None = None
    """Ids, as `collection:hr`."""

    @property
    def reads(self) -> bool:
        """Whether it permits any read of the graph."""
        return bool(self.actions & _READING)

    def within(self, other: TokenScope) -> bool:
        """Whether this permits nothing that the other does not."""
        if not self.actions <= other.actions:
            return False
        return other.collections is None or (
            self.collections is not None and self.collections <= other.collections
        )

    def __str__(self) -> str:
        """As in a token's `scope`: `ask collection:policies`."""
        return " ".join(sorted(self.actions) + sorted(self.collections or ()))


EVERYTHING = TokenScope()
NOTHING = TokenScope(frozenset())


def parse_scope(text: str) -> TokenScope | None:
    """What a `scope` says (RFC 6749, 3.3: words between spaces); None when nothing about this service.

    A scope with collections and no action permits nothing. Raises ScopeError for a word that is unknown.
    """
    words = [word for word in text.split(" ") if word and word not in _OF_THE_ISSUER]
    if not words:
        return None
    collections = frozenset(word for word in words if word.startswith(_COLLECTION) and word != _COLLECTION)
    actions = frozenset(words) - collections
    if unknown := sorted(actions - ACTIONS):
        raise ScopeError(
            f"the scope {unknown[0][:80]!r} is unknown; expected {', '.join(sorted(ACTIONS))} "
            "or `collection:NAME`"
        )
    return TokenScope(actions, collections or None)
