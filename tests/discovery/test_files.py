"""Files of a file system and of an object store: who may read them there, and the schemas of data files."""

import os
import struct
from contextlib import contextmanager

import fsspec
import pyarrow
import pytest
from pyarrow import parquet

from discovery.conformance import Specimen, findings
from discovery.connector import Position, PositionLostError, SourceError
from discovery.connectors.table import build
from discovery.pages import watched
from discovery.sources import ConfigurationError
from discovery.stores import local, s3
from tests.discovery.s3_server import KEY, SECRET, s3_server

NOBODY, NOGROUP = 65534, 65534


@pytest.fixture
def folder(tmp_path):
    """A folder that everybody may enter."""
    data = tmp_path / "data"
    data.mkdir()
    data.chmod(0o755)
    return data


def put(path, text="x", mode=0o644):
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o755)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    path.chmod(mode)
    return path


def may(said, type_name, path):
    """Who, by the names of the store."""
    return {
        who.partition(":")[2].removeprefix("source/").replace("%3A", ":")
        for who, what in said.typed(type_name)
        if what == path
    }


def test_files_lie_in_folders_and_have_sizes(say, tmp_path, folder):
    put(folder / "reports" / "2026" / "costs.txt", "12345")
    said = say(tmp_path, "files", {"url": "data"})
    assert said.problems == []
    costs = said.entities["file:source/reports/2026/costs.txt"]
    assert costs.values == {"name": "costs.txt", "path": "reports/2026/costs.txt", "byteSize": 5}
    assert costs.evidence == "data: reports/2026/costs.txt"
    assert said.typed("CONTAINS") == {
        ("folder:source", "folder:source/reports"),
        ("folder:source/reports", "folder:source/reports/2026"),
        ("folder:source/reports/2026", costs.id),
    }


def test_who_may_read_a_file_must_get_to_it_as_well(say, tmp_path, folder):
    put(folder / "open.txt")
    put(folder / "own.txt", mode=0o600)
    put(folder / "closed" / "readable.txt")
    (folder / "closed").chmod(0o700)
    said = say(tmp_path, "files", {"url": "data"})
    [owner] = may(said, "OWNS", "file:source/open.txt")
    assert owner.startswith("user:")
    assert may(said, "MAY_READ", "file:source/open.txt") == {"everyone"}
    assert may(said, "MAY_READ", "file:source/own.txt") == {owner}
    assert may(said, "MAY_READ", "file:source/closed/readable.txt") == {owner}
    assert may(said, "MAY_WRITE", "file:source/open.txt") == {owner}


@pytest.mark.skipif(os.getuid() != 0, reason="gives files away, which takes root")
def test_owners_groups_and_access_control_lists_are_told_and_named(say, tmp_path, folder):
    given = put(folder / "given.txt", mode=0o640)
    os.chown(given, NOBODY, NOGROUP)
    listed = put(folder / "listed.txt", mode=0o640)
    entries = [(0x01, 6, 0), (0x02, 6, NOBODY), (0x04, 4, 0), (0x08, 2, NOGROUP), (0x10, 4, 0), (0x20, 0, 0)]
    acl = struct.pack("<I", 2) + b"".join(
        struct.pack("<HHI", tag, bits, id_ if tag in (0x02, 0x08) else 0xFFFFFFFF)
        for tag, bits, id_ in entries
    )
    try:
        os.setxattr(listed, "system.posix_acl_access", acl)
    except OSError as error:
        pytest.skip(f"the file system keeps no access control lists: {error}")
    nobody, nogroup = local._user_name(NOBODY), local._group_name(NOGROUP)
    said = say(tmp_path, "files", {"url": "data", "principals": {nobody: "person:ada"}})
    assert ("person:ada", "file:source/given.txt") in said.typed("OWNS")
    assert may(said, "MAY_READ", "file:source/given.txt") == {"ada", nogroup}
    # The mask takes writing from the named user, and all that the named group had.
    assert may(said, "MAY_READ", "file:source/listed.txt") == {"ada", "user:root", "group:root"}
    assert may(said, "MAY_WRITE", "file:source/listed.txt") == {"user:root"}
    assert nobody not in {claim.values["name"] for claim in said.of("Group")}


def test_links_are_neither_followed_nor_read(say, tmp_path, folder):
    put(tmp_path / "secret.csv", "a,b\n1,2\n")
    put(folder / "there.txt")
    (folder / "loop").symlink_to(folder)
    (folder / "out.csv").symlink_to(tmp_path / "secret.csv")
    os.mkfifo(folder / "pipe.csv")
    said = say(tmp_path, "files", {"url": "data"})
    assert [claim.id for claim in said.of("File")] == ["file:source/there.txt"]
    assert said.problems == []


def test_what_takes_the_place_of_a_file_is_not_read(folder):
    store = local.LocalStore(folder)
    os.mkfifo(folder / "pipe")
    (folder / "link").symlink_to(put(folder / "file"))
    for name in ("pipe", "link"):
        with pytest.raises(OSError):
            store.open(name)


def test_names_that_are_no_text_and_folders_that_cannot_be_read_are_problems(say, tmp_path, folder):
    put(folder / "good.txt")
    put(folder / "closed" / "x.txt")
    (folder / os.fsdecode(b"bad\xff.txt")).write_text("x")

    def refuse(page):
        if page == "closed":
            raise PermissionError(13, "Permission denied")

    with watched(refuse):
        said = say(tmp_path, "files", {"url": "data"})
    assert "file:source/good.txt" in said.entities
    assert {(p.place, p.message.partition(":")[0]) for p in said.problems} == {
        ("bad\\xff.txt", "expected a name in UTF-8; rename it"),
        ("closed", "cannot be read"),
    }


def columns(said, path):
    found = {end: claim for claim in said.of("Column") for _, end in [(0, claim.id)]}
    mine = [found[end] for start, end in said.typed("HAS_COLUMN") if start == f"table:source/{path}"]
    return [
        (c.values["name"], c.values["dataType"], c.values["nullable"])
        for c in sorted(mine, key=lambda c: c.values["position"])
    ]


def test_data_files_are_tables_with_columns_and_no_value_is_kept(say, tmp_path, folder):
    table = pyarrow.table(
        {
            "id": pyarrow.array([1], pyarrow.int64()),
            "tags": pyarrow.array([["hush"]], pyarrow.list_(pyarrow.string())),
        }
    )
    parquet.write_table(table, put(folder / "a.parquet"))
    put(folder / "b.csv", "name;born;height;left\nhush;1990-01-31;1.80;\nhush2;1991-02-01;2;true\n")
    put(folder / "c.json", '[{"who": "hush", "n": 1}, {"n": 2.5, "deep": {"x": 1}}]')
    put(folder / "d.jsonl", '{"who": "hush", "ok": true}\n{"who": null, "ok": false}\n')
    put(folder / "settings.json", '{"no": "records"}')
    said = say(tmp_path, "files", {"url": "data"})
    assert said.problems == []
    assert columns(said, "a.parquet") == [("id", "int64", True), ("tags", "list<element: string>", True)]
    assert columns(said, "b.csv") == [
        ("name", "string", False),
        ("born", "date", False),
        ("height", "decimal", False),
        ("left", "boolean", True),
    ]
    assert columns(said, "c.json") == [
        ("who", "string", True),
        ("n", "decimal", False),
        ("deep", "object", True),
    ]
    assert columns(said, "d.jsonl") == [("who", "string", True), ("ok", "boolean", False)]
    assert ("table:source/b.csv", "file:source/b.csv") in said.typed("DERIVED_FROM")
    assert "table:source/settings.json" not in said.entities
    assert "hush" not in repr(said)


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("a.parquet", b"PAR1 no footer PAR1", "expected Parquet"),
        ("a.csv", b"a,a\n1,2\n", "a name of its own"),
        ("a.csv", b"1,2\n3,4\n", "expected a header"),
        ("a.csv", b"Ada,ada@x.example\nBob,bob@x.example\n", "found none of column 2"),
        ("a.csv", b"a,b,a\n1,2,3\n", "one of columns 1 and 3"),
        ("a.jsonl", b'{"ada@x.example": 1}\n', "found none of column 1"),
        ("a.csv", "\N{SNOWMAN},b\n".encode("utf-16"), "expected UTF-8"),
        ("a.csv", b"", "found none"),
        ("a.csv", b'a,b\n"broken off', "expected CSV"),
        ("a.json", b'[{"a": 1},', "expected JSON"),
        ("a.json", b"[" * 100_000, "nested too deeply"),
        ("a.jsonl", b'{"a": 1}\n{"a"', "expected JSON"),
    ],
)
def test_a_data_file_that_cannot_be_read_is_a_problem_and_the_rest_goes_on(say, folder, name, content, says):
    tmp_path = folder.parent
    put(folder / name, content)
    put(folder / "good.csv", "x\ny\n")
    said = say(tmp_path, "files", {"url": "data"})
    [problem] = said.problems
    assert problem.place == name
    assert says in problem.message
    assert {claim.id for claim in said.of("Table")} == {"table:source/good.csv"}
    assert f"file:source/{name}" in said.entities
    assert say(tmp_path, "files", {"url": "data", "schemas": ["good*"]}).problems == []


def test_of_a_large_file_only_the_beginning_is_read(say, tmp_path, folder):
    with put(folder / "large.csv", "name,size\n" + "x,1\n" * 300_000).open("ab") as file:
        file.truncate(2 << 30)  # two gigabytes, nearly all of them a hole
    with put(folder / "large.jsonl", '{"name": "x"}\n' * 100_000).open("ab") as file:
        file.truncate(2 << 30)
    with put(folder / "large.parquet", "PAR1").open("ab") as file:
        file.truncate(2 << 30)
    said = say(tmp_path, "files", {"url": "data"})
    assert columns(said, "large.csv") == [("name", "string", False), ("size", "integer", False)]
    assert columns(said, "large.jsonl") == [("name", "string", False)]
    assert [problem.place for problem in said.problems] == ["large.parquet"]


def positions(organization, tmp_path):
    connector = build(organization, organization.source[0], {})
    [scope] = connector.scopes()
    return connector, scope, next(i.text for i in connector.read(scope) if isinstance(i, Position))


def test_an_unchanged_folder_is_not_read_again_and_a_changed_one_is(make_organization, tmp_path, folder):
    old = put(folder / "a.csv", "x\ny\n")
    os.utime(old, (1, 1))
    organization = make_organization(
        tmp_path, {"name": "s", "connector": "files", "options": {"url": "data"}}
    )
    connector, scope, position = positions(organization, tmp_path)
    pages = []
    with watched(pages.append):
        assert list(connector.changes(scope, position)) == []
    assert pages == ["."]  # listed; the file is not opened
    for change in (lambda: old.chmod(0o600), lambda: put(folder / "b"), old.unlink):
        change()
        with pytest.raises(PositionLostError):
            list(connector.changes(scope, position))


def test_any_store_of_fsspec_can_be_listed(say, tmp_path):
    memory = fsspec.filesystem("memory")
    memory.pipe("/shop/2026/orders.csv", b"id,total\n1,2.5\n")
    try:
        said = say(tmp_path, "files", {"url": "memory://shop"})
    finally:
        memory.rm("/shop", recursive=True)
    assert {claim.id for claim in said.of("File")} == {"file:source/2026/orders.csv"}
    assert columns(said, "2026/orders.csv") == [("id", "integer", False), ("total", "decimal", False)]
    assert said.typed("MAY_READ") == set()


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"url": "absent"}, "No such file"),
        ({"url": "sources.toml"}, "expected a folder"),
        ({"url": "telepathy://x"}, "fsspec knows"),
        ({"url": "s3://data", "arguments": {"secret": "hunter2"}}, "name it in `secrets`"),
        ({"url": "s3://key:hunter2@data"}, "expected no password"),
        ({"url": "s3://data", "secrets": {"secret": "hunter2"}}, "secrets"),
        ({"url": "s3://data", "arguments": {"endpoint_url": "http://s3.example"}}, "expected https"),
    ],
)
def test_a_configuration_that_cannot_be_used_is_refused(say, tmp_path, options, says):
    (tmp_path / "sources.toml").write_text("")
    with pytest.raises((ConfigurationError, SourceError), match=says) as error:
        say(tmp_path, "files", options)
    assert "hunter2" not in str(error.value)


# S3 ----------------------------------------------------------------------------------------------


@pytest.fixture
def options(monkeypatch):
    monkeypatch.setenv("S3_SECRET", SECRET)

    def make(server, url="s3://data/lake"):
        return {
            "url": url,
            "arguments": {"endpoint_url": server.endpoint, "key": KEY},
            "secrets": {"secret": "env:S3_SECRET"},
        }

    return make


def test_a_bucket_is_listed_page_by_page_with_owners_and_access_control_lists(
    say, tmp_path, options, monkeypatch
):
    monkeypatch.setattr(s3, "PAGE", 4)
    with s3_server(ObjectOwnership="ObjectWriter") as server:
        for number in range(7):
            server.put(f"lake/many/{number}.txt")
        server.put("lake/a/b/people.csv", "name\nAda\n")
        server.put("lake/marker/")
        server.put("lakeside/not-ours.txt")
        server.client.put_object_acl(Bucket="data", Key="lake/a/b/people.csv", ACL="public-read")
        pages = []
        with watched(pages.append):
            said = say(tmp_path, "files", options(server))
    assert said.problems == []
    assert len(said.of("File")) == 8
    assert sum(page.startswith("list_objects_v2") for page in pages) == 3
    assert {claim.id for claim in said.of("Folder")} == {
        "folder:source",
        *(f"folder:source/{name}" for name in ("a", "a/b", "many", "marker")),
    }
    assert columns(said, "a/b/people.csv") == [("name", "string", False)]
    assert may(said, "MAY_READ", "file:source/a/b/people.csv") == {"everyone"}
    [reader] = may(said, "MAY_READ", "file:source/many/0.txt")
    assert {reader} == may(said, "OWNS", "file:source/many/0.txt")
    assert reader.startswith("user:")
    assert SECRET not in repr(said)


def test_where_lists_of_access_do_not_count_they_are_not_asked_for(say, tmp_path, options, make_organization):
    with s3_server(ObjectOwnership="BucketOwnerEnforced") as server:
        server.put("lake/a.txt")
        pages = []
        with watched(pages.append):
            said = say(tmp_path, "files", options(server))
        assert not [page for page in pages if page.startswith("access")]
        assert len(may(said, "MAY_READ", "file:source/a.txt")) == 1
        declared = {"name": "s", "connector": "files", "options": options(server)}
        connector, scope, position = positions(make_organization(tmp_path, declared), tmp_path)
        assert list(connector.changes(scope, position)) == []
        server.put("lake/a.txt", "another")
        with pytest.raises(PositionLostError):
            list(connector.changes(scope, position))


def test_a_bucket_that_goes_away_fails_the_scope(make_organization, tmp_path, options):
    with s3_server() as server:
        server.put("lake/a.txt")
        declared = {"name": "s", "connector": "files", "options": options(server)}
        organization = make_organization(tmp_path, declared)
        connector = build(organization, organization.source[0], {})
        server.client.delete_object(Bucket="data", Key="lake/a.txt")
        server.client.delete_bucket(Bucket="data")
        with pytest.raises(SourceError, match="check the bucket") as error:
            list(connector.read(connector.scopes()[0]))
    assert SECRET not in str(error.value)


def test_an_object_store_conforms(tmp_path, options):
    @contextmanager
    def specimen(folder):
        with s3_server(ObjectOwnership="ObjectWriter") as server:
            server.put("lake/a.csv", "name\nAda\n")
            server.put("lake/b/c.txt")
            yield Specimen(
                options(server),
                frozenset({"file:specimen/a.csv", "folder:specimen/b"}),
                lambda: server.put("lake/a.csv", "id,name\n1,Ada\n"),
                lambda: server.put("lake/b/d.txt"),
                lambda: server.put("lake/b/a.csv", "name\nAda\n"),
                secrets=(SECRET,),
            )

    def connect(organization, source):
        return build(organization, source.model_copy(update={"connector": "files"}), {})

    assert findings(connect, specimen, tmp_path) == []
