"""Git repositories as sources: read at a commit, replayed commit by commit, hostile ones within bounds."""

from contextlib import contextmanager

import pytest

from discovery.conformance import Specimen, findings
from discovery.connector import Position, PositionLostError, Problem, SourceError
from discovery.connectors.table import build
from discovery.files import UnreadableError
from discovery.git import bundle_head, open_repository
from discovery.statements import fact_of
from tests.discovery.git_repository import commit, git

MAPPING = """\
[lookup.id]
files = "people/*.toml"
each = "."
key = "login"
value = "{id}"

[[rule]]
files = "people/*.toml"
each = "."
id = "person:{id}"
class = "Person"
values = { name = "name", accountName = "login" }

[[rule]]
files = "teams/*.toml"
each = "."
id = "group:{_stem}"
class = "Group"
values = { name = "_stem" }

[[rule.relationship]]
type = "MEMBER_OF"
each = "members"
start = "person:{id[_item]}"
end = "group:{_stem}"
"""


def person(login, number, name=None):
    return f'login = "{login}"\nid = {number}\nname = "{name or login.title()}"\n'


def team(*logins):
    return f"members = {list(logins)!r}\n"


FIRST = {
    "people/ada.toml": person("ada", 1),
    "people/bob.toml": person("bob", 2),
    "teams/core.toml": team("ada", "bob"),
    "notes.txt": "nothing",
}


@pytest.fixture
def connect(make_organization, tmp_path):
    """A connector of the repository `lists`, at a commit or at its head."""
    (tmp_path / "mapping.toml").write_text(MAPPING)

    def make(at=None, **options):
        options = {"repository": "lists", "path": "**/*.toml", "mapping": "mapping.toml", **options}
        if at is not None:
            options["commit"] = at
        declared = {"name": "lists", "connector": "mapping", "options": options}
        config = make_organization(tmp_path, declared)
        return build(config, config.source[0], {})

    return make


def whole(connector):
    """What it says, by fact; its problems; and how far it read."""
    [scope] = connector.scopes()
    items = list(connector.read(scope))
    claims = {fact_of(i): i for i in items if not isinstance(i, (Problem, Position))}
    [position] = [i.text for i in items if isinstance(i, Position)]
    return claims, [i for i in items if isinstance(i, Problem)], position


def follow(connector, claims, position):
    """The claims after each change, applied as the store applies it."""
    [scope] = connector.scopes()
    for change in connector.changes(scope, position):
        claims = claims | {fact_of(claim): claim for claim in change.claims}
        for claim in change.withdrawn:
            del claims[fact_of(claim)]
        yield change, claims


def test_changes_tell_what_differs_from_commit_to_commit(connect, tmp_path):
    first = commit(tmp_path / "lists", FIRST)
    claims, problems, position = whole(connect(first))
    assert problems == []
    assert ("person:2", "MEMBER_OF", "group:core") in claims
    # renamed: another file, the same id; the team's file names the new login
    renamed = {
        "people/bob.toml": None,
        "people/rob.toml": person("rob", 2),
        "teams/core.toml": team("ada", "rob"),
    }
    commit(tmp_path / "lists", renamed)
    commit(tmp_path / "lists", {"notes.txt": "else"})
    commit(tmp_path / "lists", {"teams/core.toml": team("ada"), "people/cyd.toml": person("cyd", 3)})
    head = connect()
    assert len(claims) == 5
    (rename, _), (none, _), (left, last) = follow(head, claims, position)
    assert [claim.id for claim in rename.claims] == ["person:2"]  # one person, with another name
    assert rename.claims[0].values["accountName"] == "rob"
    assert (list(rename.withdrawn), rename.standing) == ([], 5)
    assert (none.claims, none.withdrawn) == ([], [])
    assert [(w.start, w.type) for w in left.withdrawn] == [("person:2", "MEMBER_OF")]
    assert last == whole(head)[0]


def test_a_file_that_did_not_change_is_read_anew_where_what_it_looks_up_did(connect, tmp_path):
    first = commit(tmp_path / "lists", FIRST)
    claims, _, position = whole(connect(first))
    commit(tmp_path / "lists", {"people/bob.toml": person("bob", 9)})  # another person took the name over
    [(change, last)] = follow(connect(), claims, position)
    assert ("person:9", "MEMBER_OF", "group:core") in last
    assert ("person:2", "MEMBER_OF", "group:core") not in last
    assert {getattr(w, "id", getattr(w, "start", None)) for w in change.withdrawn} == {"person:2"}


def test_a_broken_commit_withdraws_nothing_and_the_next_good_one_all_that_is_gone(connect, tmp_path):
    first = commit(tmp_path / "lists", FIRST)
    claims, _, position = whole(connect(first))
    commit(tmp_path / "lists", {"teams/core.toml": "members = [", "people/bob.toml": None})
    commit(tmp_path / "lists", {"people/cyd.toml": person("cyd", 3)})
    commit(tmp_path / "lists", {"teams/core.toml": team("ada", "cyd")})
    changes = list(follow(connect(), claims, position))
    assert [change.position is None for change, _ in changes] == [True, True, False]
    assert [list(change.withdrawn) for change, _ in changes[:2]] == [[], []]
    assert "expected TOML" in changes[0][0].problems[0].message
    assert changes[-1][1] == whole(connect())[0]


@pytest.mark.parametrize("how", ["another mapping", "another history", "no commit", "another path"])
def test_where_changes_cannot_be_told_the_scope_is_read_whole(connect, tmp_path, how):
    commit(tmp_path / "lists", FIRST)
    _, _, position = whole(connect())
    connector = connect()
    if how == "another mapping":
        (tmp_path / "mapping.toml").write_text(MAPPING.replace("accountName", "email"))
    elif how == "another history":
        git(tmp_path / "lists", "commit", "-q", "--amend", "-m", "y", "--date", "2020-01-01T00:00:00")
    elif how == "no commit":
        position = f"{'0' * 40} {position.split()[1]}"
    else:
        connector = connect(path="people/*.toml")
    with pytest.raises(PositionLostError):
        list(connector.changes("lists", position))


def test_a_bundle_is_read_like_a_repository_and_an_unchanged_one_is_not_unpacked(
    connect, tmp_path, monkeypatch
):
    commit(tmp_path / "lists", FIRST)
    git(tmp_path / "lists", "bundle", "create", str(tmp_path / "lists.bundle"), "main")
    claims, _, position = whole(connect(repository="lists.bundle", branch="main"))
    assert claims == whole(connect())[0]
    assert bundle_head(tmp_path / "lists.bundle", "main") == position.split()[0]
    monkeypatch.setattr("discovery.connectors.mapping.open_repository", None)
    assert list(connect(repository="lists.bundle", branch="main").changes("x", position)) == []


def tree(folder, *entries):
    """A commit of a tree with entries that git itself would not make: (mode, name, content)."""
    lines = b""
    for mode, name, content in sorted(entries, key=lambda entry: entry[1]):
        blob = git(folder, "hash-object", "-w", "--stdin", stdin=content)
        lines += mode.encode() + b" " + name + b"\0" + bytes.fromhex(blob)
    id_ = git(folder, "hash-object", "-t", "tree", "--literally", "-w", "--stdin", stdin=lines)
    made = git(folder, "commit-tree", id_, "-p", "HEAD", "-m", "x")
    git(folder, "update-ref", "refs/heads/main", made)
    return made


def test_hostile_names_are_problems_and_links_are_no_files(tmp_path):
    folder = tmp_path / "lists"
    before = commit(folder, FIRST)
    after = tree(
        folder,
        ("100644", b"..", b"a"),
        ("100644", b"new\nline.toml", b"a"),
        ("100644", b"caf\xe9.toml", b"a"),
        ("120000", b"link.toml", b"/etc/passwd"),
        ("100644", b"good.toml", b"a"),
    )
    with open_repository(folder) as repository:
        files, problems = repository.files(after)
        [change] = repository.commits(before, after)
    assert set(files) == {"good.toml"}
    assert len(problems) == len(change.problems) == 3
    assert change.changed["good.toml"] == files["good.toml"]
    assert change.changed["link.toml"] is None


def test_a_blob_beyond_the_bound_is_refused_unread_and_the_next_one_read(tmp_path):
    at = commit(tmp_path / "lists", {"big.toml": b"#" * 5000, "small.toml": b"a = 1\n"})
    with open_repository(tmp_path / "lists") as repository, repository.reader() as blobs:
        files, _ = repository.files(at)
        with pytest.raises(UnreadableError, match="at most 100 bytes, found 5000"):
            blobs.read(files["big.toml"], 100)
        with pytest.raises(UnreadableError, match="not in the repository"):
            blobs.read("0" * 40)
        assert blobs.read(files["small.toml"], 100) == b"a = 1\n"


def test_a_repository_s_own_configuration_runs_nothing(tmp_path):
    folder, mark = tmp_path / "lists", tmp_path / "ran"
    before = commit(folder, FIRST)
    after = commit(folder, {"people/ada.toml": person("ada", 1, "Ada L.")})
    script = f"touch {mark}"
    for key in (
        "core.fsmonitor",
        "core.pager",
        "core.sshCommand",
        "diff.external",
        "diff.t.textconv",
        "core.editor",
    ):
        git(folder, "config", key, script)
    git(folder, "config", "log.showSignature", "true")
    git(folder, "config", "gpg.program", script)
    (folder / ".git" / "info" / "attributes").write_text("* diff=t filter=t\n")
    git(folder, "config", "filter.t.smudge", script)
    with open_repository(folder) as repository, repository.reader() as blobs:
        files, _ = repository.files(after)
        assert [list(c.changed) for c in repository.commits(before, after)] == [["people/ada.toml"]]
        assert blobs.read(files["people/ada.toml"]).startswith(b"login")
    assert not mark.exists()


@pytest.mark.parametrize("reference", ["--upload-pack=touch /tmp/x", "nowhere", "HEAD~1", "main:people", ""])
def test_a_reference_that_names_no_commit_is_said(tmp_path, reference):
    commit(tmp_path / "lists", FIRST)
    with (
        open_repository(tmp_path / "lists") as repository,
        pytest.raises(SourceError, match="names no commit"),
    ):
        repository.commit(reference)


def test_what_is_no_repository_is_said(tmp_path):
    (tmp_path / "file").write_text("no bundle")
    for name in ("file", "absent", "."):
        with (
            pytest.raises(SourceError, match=r"repository or a bundle|no such repository"),
            open_repository(tmp_path / name) as repository,
        ):
            repository.commit()


def test_a_repository_conforms(tmp_path):
    """Renamed, moved and repeated by commits; each fault at each page that is read of it."""

    @contextmanager
    def specimen(folder):
        (folder / "mapping.toml").write_text(MAPPING)
        lists = folder / "lists"
        commit(lists, FIRST)
        yield Specimen(
            {"repository": "lists", "path": "**/*.toml", "mapping": "mapping.toml"},
            frozenset({"person:1", "group:core"}),
            lambda: commit(lists, {"people/ada.toml": person("ada", 1, "Ada L.")}),
            lambda: commit(
                lists, {"people/ada.toml": None, "people/lovelace.toml": person("ada", 1, "Ada L.")}
            ),
            lambda: commit(lists, {"people/again.toml": person("bob", 2)}),
        )

    def connect(organization, source):
        return build(organization, source.model_copy(update={"connector": "mapping"}), {})

    assert findings(connect, specimen, tmp_path) == []
