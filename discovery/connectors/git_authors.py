"""Who wrote a repository: the authors of its commits, as git's mailmap names them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from discovery.connector import Change, Connector, Item, Position, only_if_unchanged
from discovery.connectors.codeowners import person_at
from discovery.files import locate
from discovery.git import head_of, open_repository, repository_name
from discovery.options import Options, parse_options
from discovery.patterns import Parts
from discovery.sources import OrganizationConfig, SourceConfig
from graph.claims import EntityClaim, RelationshipClaim, entity_id

#: Of accounts whose owners keep their address to themselves: `123+octo@users.noreply.github.com`.
_NO_REPLY = "@users.noreply."


class GitAuthorsOptions(Options):
    repository: str
    """Path of a working tree, a bare repository or a bundle."""
    branch: str | None = None
    """HEAD if none is named."""
    name: str | None = None
    """Key and name of the repository; the file's or folder's name if none is given."""
    people: Mapping[str, str] = {}
    """Ids of authors whom the rule does not give (`"ada@home.example" = "person:ada"`). The rule: `name@host`
    is person:name."""
    least: int = 1
    """Commits of somebody who is told."""


def connect(organization: OrganizationConfig, source: SourceConfig) -> Connector:
    return GitAuthorsConnector(organization, source, parse_options(GitAuthorsOptions, source))


@dataclass(frozen=True)
class GitAuthorsConnector:
    organization: OrganizationConfig
    source: SourceConfig
    options: GitAuthorsOptions

    def scopes(self) -> Sequence[str]:
        branch, least = self.options.branch, self.options.least
        at = "" if branch is None else f" branch {branch}"
        return (f"{self.options.repository}{at}{f' from {least} commits on' if least > 1 else ''}",)

    def changes(self, scope: str, position: str) -> Iterator[Change]:
        commit = head_of(self._path, self.options.branch)
        yield from only_if_unchanged(position, f"{commit} {self.options.digest()}")

    def read(self, scope: str) -> Iterator[Item]:
        parts = Parts(self.organization, self.source)
        with open_repository(self._path) as repository:
            head = repository.commit(self.options.branch)
            last: dict[str, str] = {}
            count = Counter[str]()
            for commit, address in repository.authors(head):
                if (person := self._person(address)) is not None:
                    last.setdefault(person, commit)  # the newest is first
                    count[person] += 1
        name = self.options.name or repository_name(self._path)
        id_ = entity_id("repository", name)
        yield from parts.classifications()
        yield EntityClaim(id_, "Repository", parts.collection(), {"name": name}, f"commit {head[:12]}")
        for person, commit in last.items():
            if count[person] >= self.options.least:
                yield RelationshipClaim(person, "CONTRIBUTED_TO", id_, f"commit {commit[:12]}")
        yield Position(f"{head} {self.options.digest()}")

    def _person(self, address: str) -> str | None:
        if address in self.options.people:
            return self.options.people[address]
        if _NO_REPLY in address:
            address = address.rpartition("+")[2]
        return person_at(address)  # who is none has no address: commits cannot be corrected

    @property
    def _path(self) -> Path:
        return locate(self.organization, self.options.repository)
