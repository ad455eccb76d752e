"""Who wrote a repository: the authors of its commits, by git's mailmap."""

import pytest

from discovery.connector import Position, PositionLostError, SourceError
from discovery.connectors.table import build
from tests.discovery.git_repository import commit, git


def by(folder, address):
    """A commit by somebody."""
    git(folder, "commit", "-q", "--allow-empty", "-m", "x", "--author", f"x <{address}>")


@pytest.fixture
def lists(tmp_path):
    folder = tmp_path / "lists"
    commit(folder, {".mailmap": "Bob <bob@x.example> <robert@old.example>\n"})
    by(folder, "ada@x.example")
    by(folder, "robert@old.example")
    by(folder, "123+octo@users.noreply.github.com")
    by(folder, "root")
    by(folder, "ada@home.example")
    return folder


def test_authors_of_commits_have_contributed(say, lists, tmp_path):
    said = say(tmp_path, "git-authors", {"repository": "lists", "people": {"ada@home.example": "person:ada"}})
    assert said.problems == []
    people = {start for start, end in said.typed("CONTRIBUTED_TO") if end == "repository:lists"}
    assert people >= {"person:ada", "person:bob", "person:octo"}
    assert not {"person:robert", "person:root"} & people
    [claim] = [one for one in said.claims if getattr(one, "start", "") == "person:ada"]
    assert claim.evidence == f"commit {git(lists, 'rev-parse', 'HEAD')[:12]}"  # the latest of theirs


def test_a_bundle_says_the_same_and_few_commits_may_not_count(say, lists, tmp_path):
    git(lists, "bundle", "create", str(tmp_path / "lists.bundle"), "--all")
    options = {"repository": "lists.bundle", "branch": "main", "people": {"ada@home.example": "person:ada"}}
    assert {
        start for start, _ in say(tmp_path, "git-authors", {**options, "least": 2}).typed("CONTRIBUTED_TO")
    } == {"person:ada"}
    assert len(say(tmp_path, "git-authors", options).typed("CONTRIBUTED_TO")) >= 3


def test_what_did_not_change_is_not_read_again(make_organization, lists, tmp_path):
    declared = {"name": "s", "connector": "git-authors", "options": {"repository": "lists"}}
    organization = make_organization(tmp_path, declared)
    connector = build(organization, organization.source[0], {})
    [position] = [one for one in connector.read("lists") if isinstance(one, Position)]
    assert list(connector.changes("lists", position.text)) == []
    by(lists, "cyd@x.example")
    with pytest.raises(PositionLostError):
        list(connector.changes("lists", position.text))


def test_a_branch_that_is_none_fails_the_scope(say, lists, tmp_path):
    with pytest.raises(SourceError, match="nothing-such"):
        say(tmp_path, "git-authors", {"repository": "lists", "branch": "nothing-such"})
