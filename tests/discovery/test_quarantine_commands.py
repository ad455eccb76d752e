"""`orgraph quarantine`: what is kept out is listed with its reason, and tried again where it is from."""

import json
import os
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
"""
SOURCE = """
[[source]]
name = "{name}"
connector = "mapping"
collection = "all"
handling = {{}}
options = {{ path = "{name}.csv", mapping = "units.toml" }}
"""
MAPPING = """\
[[rule]]
id = "organizational_unit:{id}"
class = "OrganizationalUnit"
values = { name = "id" }

[[rule.relationship]]
type = "UNIT_OF"
end = "organizational_unit:{above}"
"""


def test_what_is_kept_out_is_listed_and_retried_when_its_cause_is_gone(
    tmp_path: Path, neo4j_server: Neo4jServer
) -> None:
    wipe(neo4j_server)
    sources = "".join(SOURCE.format(name=name) for name in ("first", "second"))
    (tmp_path / "sources.toml").write_text(SOURCES + sources)
    (tmp_path / "units.toml").write_text(MAPPING)
    (tmp_path / "first.csv").write_text("id,above\nclaims,sales\n")
    (tmp_path / "second.csv").write_text("id,above\nsales,claims\n")
    os.utime(tmp_path / "second.csv", (1, 1))  # what was written just now is read again
    orgraph = on(neo4j_server, tmp_path / "client", tmp_path / "sources.toml")
    assert "Nothing is quarantined." in orgraph.invoke("quarantine", "list").stdout
    orgraph.crawl("first")
    orgraph.crawl("second")
    [kept_out] = json.loads(orgraph.invoke("quarantine", "list", "--json").stdout)
    assert (kept_out["source"], kept_out["entity"]) == ("second", "organizational_unit:sales")
    assert kept_out["about"] == ["organizational_unit:sales", "organizational_unit:claims"]
    assert "second.csv" in kept_out["evidence"]
    assert kept_out["shape"]
    assert kept_out["value"]
    assert kept_out["expected"]
    listed = orgraph.invoke("quarantine", "list", "second").stdout
    assert f"second: organizational_unit:sales ({kept_out['evidence']})" in listed
    assert f"{kept_out['value']}: {kept_out['expected']} ({kept_out['shape']})" in listed
    assert json.loads(orgraph.invoke("quarantine", "list", "first", "--json").stdout) == []
    assert "1 claims of second are still kept out" in orgraph.invoke("quarantine", "retry", "second").stdout
    (tmp_path / "first.csv").write_text("id,above\nclaims,\n")
    orgraph.crawl("first")
    assert orgraph.crawl("second")["second"]["outcome"] == "complete"  # it did not change: passed over
    assert len(json.loads(orgraph.invoke("quarantine", "list", "--json").stdout)) == 1
    retried = json.loads(orgraph.invoke("quarantine", "retry", "second", "--json").stdout)
    assert (retried["outcome"], retried["scopes"][0]["added"]) == ("complete", 1)
    assert json.loads(orgraph.invoke("quarantine", "list", "--json").stdout) == []
    nothing = orgraph.invoke("quarantine", "retry", "second")
    assert (nothing.exit_code, "nothing of 'second' is quarantined" in nothing.stderr) == (1, True)
    for command in ("list", "retry"):
        unknown = orgraph.invoke("quarantine", command, "nosuch")
        assert (unknown.exit_code, "no source is named 'nosuch'" in unknown.stderr) == (1, True)
