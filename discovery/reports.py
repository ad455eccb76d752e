"""What became of a crawl."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Literal

from discovery.connector import Problem
from graph.claims import Violation, WriteReport

Outcome = Literal["complete", "partial", "failed"]
_WORST: Sequence[Outcome] = ("complete", "partial", "failed")


@dataclass(frozen=True, slots=True)
class ScopeReport:
    """How one scope went. Only a complete one had what it no longer says retracted."""

    scope: str
    outcome: Outcome = "complete"
    why: str | None = None
    """Why it failed, or is held."""
    claims: int = 0
    added: int = 0
    changed: int = 0
    retracted: int = 0
    unchanged: int = 0
    revision: int = 0
    """The last one that it is written to; 0 before the first."""
    problems: tuple[Problem, ...] = ()
    violations: tuple[Violation, ...] = ()

    def plus(self, written: WriteReport) -> ScopeReport:
        return replace(
            self,
            added=self.added + written.added,
            changed=self.changed + written.changed,
            retracted=self.retracted + written.retracted,
            unchanged=self.unchanged + written.unchanged,
            revision=written.revision,
            violations=self.violations + written.quarantined,
        )

    def after(self, first: ScopeReport) -> ScopeReport:
        """The report of a scope that was read twice: what both changed, and what the last one found."""
        return replace(
            self,
            added=first.added + self.added,
            changed=first.changed + self.changed,
            retracted=first.retracted + self.retracted,
        )


@dataclass(frozen=True, slots=True)
class RunReport:
    """How one crawl of a source went."""

    source: str
    started: datetime
    duration: timedelta
    scopes: tuple[ScopeReport, ...]
    error: str | None = None
    """Why the source could not be read at all, or its crawl not be recorded."""
    notes: tuple[str, ...] = ()
    """What became of reading its policies: who did not read them, and why."""

    @property
    def outcome(self) -> Outcome:
        """The worst of its scopes'."""
        if self.error is not None:
            return "failed"
        return max((scope.outcome for scope in self.scopes), key=_WORST.index, default="complete")

    @property
    def problems(self) -> tuple[Problem, ...]:
        return tuple(problem for scope in self.scopes for problem in scope.problems)

    @property
    def violations(self) -> tuple[Violation, ...]:
        return tuple(violation for scope in self.scopes for violation in scope.violations)
