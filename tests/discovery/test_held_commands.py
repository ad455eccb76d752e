"""`orgraph held`: what waits is listed, confirmed or dropped by a person, by the commands."""

from pathlib import Path

from graph.neo4j_server import Neo4jServer
from tests.resilience.command import on, wipe

SOURCES = """\
name = "Acme"
issuer = "acme"
administrator = "person:p1"

[[collection]]
id = "all"
name = "All"
readers = ["group:all"]

[[source]]
name = "people"
connector = "mapping"
collection = "all"
handling = {}
options = { path = "people.csv", mapping = "people.toml" }
"""
MAPPING = """\
[[rule]]
id = "person:{id}"
class = "Person"
values = { name = "name", jobTitle = "title", employeeNumber = "id" }
"""


def export(folder: Path, people: int) -> None:
    """An export of human resources."""
    rows = "".join(f"p{n},Person {n},Analyst\n" for n in range(people))
    (folder / "people.csv").write_text(f"id,name,title\n{rows}")


def test_a_held_crawl_is_listed_and_decided_on(tmp_path: Path, neo4j_server: Neo4jServer) -> None:
    wipe(neo4j_server)
    (tmp_path / "sources.toml").write_text(SOURCES)
    (tmp_path / "people.toml").write_text(MAPPING)
    orgraph = on(neo4j_server, tmp_path / "client", tmp_path / "sources.toml")
    export(tmp_path, 60)
    assert orgraph.crawl()["people"]["outcome"] == "complete"
    assert "Nothing is held." in orgraph.invoke("held", "list").stdout
    export(tmp_path, 20)
    report = orgraph.crawl("people")["people"]
    assert report["outcome"] == "partial"
    assert "40 of 60 claims would be retracted; `orgraph held confirm people`" in report["scopes"][0]["why"]
    listed = orgraph.invoke("held", "list")
    assert (listed.exit_code, "people.csv" in listed.stdout) == (0, True)
    dropped = orgraph.invoke("held", "drop", "people")
    assert dropped.stdout == "people.csv: 60 claims stay as they are\n"
    nothing = orgraph.invoke("held", "confirm", "people")
    assert (nothing.exit_code, "no crawl of 'people' waits" in nothing.stderr) == (1, True)
    export(tmp_path, 10)
    assert orgraph.crawl("people")["people"]["outcome"] == "partial"
    confirmed = orgraph.invoke("held", "confirm", "people")
    assert (confirmed.exit_code, "complete" in confirmed.stdout) == (0, True)
    assert "Nothing is held." in orgraph.invoke("held", "list").stdout
    unknown = orgraph.invoke("held", "confirm", "nosuch")
    assert (unknown.exit_code, "no source is named 'nosuch'" in unknown.stderr) == (1, True)
