"""Who owns which paths of a repository, read from git without checking anything out."""

import subprocess

import pytest

from discovery.connector import SourceError

OWNERS = """\
# who looks after what
* @acme/engineering
/quotes/ @ada grace@acme.example  # inline
/my\\ docs/ @octo
/free/
"""


def git(folder, *arguments):
    subprocess.run(
        ["git", "-c", "user.name=t", "-c", "user.email=t@example", *arguments],
        cwd=folder,
        check=True,
        capture_output=True,
    )


@pytest.fixture
def repository(tmp_path):
    """A function that makes a repository with that CODEOWNERS."""

    def make(text=OWNERS, place=".github/CODEOWNERS"):
        folder = tmp_path / "quoting"
        folder.mkdir()
        git(folder, "init", "-q", "-b", "main")
        file = folder / place
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(text if isinstance(text, bytes) else text.encode())
        git(folder, "add", ".")
        git(folder, "commit", "-q", "-m", "one")
        return folder

    return make


def test_owners_are_read_from_the_commit_not_from_the_working_tree(say, repository, tmp_path):
    folder = repository()
    (folder / ".github" / "CODEOWNERS").write_text("* @somebody-else")
    said = say(tmp_path, "codeowners", {"repository": "quoting", "owners": {"@octo": "person:octavia"}})
    assert said.problems == []
    path = "code_path:quoting/"
    assert said.typed("OWNS") == {
        ("group:engineering", f"{path}%2A"),
        ("person:ada", f"{path}/quotes/"),
        ("person:grace", f"{path}/quotes/"),
        ("person:octavia", f"{path}/my%20docs/"),
    }
    assert len(said.typed("HAS_PATH")) == 4
    evidence = said.entities[f"{path}/quotes/"].evidence
    assert evidence.startswith(".github/CODEOWNERS:3@")


@pytest.mark.parametrize("form", ["tree", "bare", "bundle"])
def test_a_working_tree_a_bare_repository_and_a_bundle_say_the_same(say, repository, tmp_path, form):
    folder = repository(place="docs/CODEOWNERS")
    where = {"tree": "quoting", "bare": "quoting.git", "bundle": "quoting.bundle"}[form]
    if form == "bare":
        git(tmp_path, "clone", "-q", "--bare", "quoting", "quoting.git")
    if form == "bundle":
        git(folder, "bundle", "create", "-q", str(tmp_path / "quoting.bundle"), "main")
    said = say(tmp_path, "codeowners", {"repository": where, "branch": "main"})
    assert said.entities["repository:quoting"].values == {"name": "quoting"}
    assert ("group:engineering", "code_path:quoting/%2A") in said.typed("OWNS")


def test_of_equal_patterns_the_last_counts(say, repository, tmp_path):
    repository("/a @ada\n/b @bob\n/a @eve\n")
    said = say(tmp_path, "codeowners", {"repository": "quoting"})
    assert said.typed("OWNS") == {
        ("person:eve", "code_path:quoting//a"),
        ("person:bob", "code_path:quoting//b"),
    }


def test_what_is_no_owner_is_named_and_the_rest_goes_on(say, repository, tmp_path):
    repository("/a nobody\n[Section]\n/b @bob\n")
    said = say(tmp_path, "codeowners", {"repository": "quoting"})
    assert [problem.place.split("@")[0] for problem in said.problems] == [
        ".github/CODEOWNERS:2",
        ".github/CODEOWNERS:1",
    ]
    assert "found 'nobody'" in said.problems[1].message
    assert said.typed("OWNS") == {("person:bob", "code_path:quoting//b")}


@pytest.mark.parametrize("branch", ["gone", "--upload-pack=touch /tmp/x", "main..HEAD", ":/one"])
def test_a_branch_that_is_none_fails_the_scope(say, repository, tmp_path, branch):
    repository()
    with pytest.raises(SourceError, match="names no commit"):
        say(tmp_path, "codeowners", {"repository": "quoting", "branch": branch})


def test_what_is_no_repository_fails_the_scope(say, repository, tmp_path):
    (tmp_path / "x.bundle").write_text("not a bundle")
    (tmp_path / "folder").mkdir()
    for path, says in (
        ("x.bundle", "git says"),
        ("folder", "expected a git"),
        ("gone", "no such repository"),
    ):
        with pytest.raises(SourceError, match=says):
            say(tmp_path, "codeowners", {"repository": path})


def test_a_repository_without_the_file_or_not_in_utf8_fails_the_scope(say, repository, tmp_path):
    folder = repository(b"* @caf\xe9\n")
    with pytest.raises(SourceError, match="expected UTF-8"):
        say(tmp_path, "codeowners", {"repository": "quoting"})
    git(folder, "rm", "-q", ".github/CODEOWNERS")
    git(folder, "commit", "-q", "-m", "two")
    with pytest.raises(SourceError, match="has none of"):
        say(tmp_path, "codeowners", {"repository": "quoting"})


def test_configuration_of_the_repository_runs_nothing(say, repository, tmp_path):
    folder = repository()
    trap = tmp_path / "trap.sh"
    trap.write_text(f"#!/bin/sh\ntouch {tmp_path}/sprung\ncat\n")
    trap.chmod(0o755)
    for key in ("core.fsmonitor", "core.pager", "diff.x.textconv", "filter.x.smudge", "core.sshCommand"):
        git(folder, "config", key, str(trap))
    (folder / ".git" / "info" / "attributes").write_text("* diff=x filter=x\n")
    say(tmp_path, "codeowners", {"repository": "quoting"})
    assert not (tmp_path / "sprung").exists()


@pytest.mark.shared_data
def test_a_bundle_of_thousands_of_commits_without_the_file_says_so(say, shared_data):
    [bundle] = (shared_data / "rust-team").glob("*.bundle")
    with pytest.raises(SourceError, match=r"has none of \.github/CODEOWNERS"):
        say(bundle.parent, "codeowners", {"repository": bundle.name, "branch": "public"})
