"""OpenLDAP's server, as organizations run it: memberOf that it keeps itself, groups within groups, its limits."""

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from ldap3 import MODIFY_ADD, MODIFY_DELETE, MODIFY_REPLACE, Connection, Server
from ldap3.core.exceptions import LDAPException

from discovery.connector import Position, PositionLostError, SourceError
from discovery.connectors.table import build
from discovery.pages import watched

SLAPD = shutil.which("slapd") or shutil.which("slapd", path="/usr/sbin")
pytestmark = pytest.mark.skipif(SLAPD is None, reason="needs Debian's slapd")
ADMIN, SMALL, PASSWORD = "cn=admin,dc=x", "uid=small,ou=people,dc=x", "known-to-the-test-alone"
PEOPLE = ("ada", "bob", "cyd", "dan", "eve")


@dataclass(frozen=True)
class Slapd:
    port: int
    process: "subprocess.Popen[bytes]"

    def admin(self) -> Connection:
        return Connection(
            Server("127.0.0.1", self.port), ADMIN, PASSWORD, auto_bind=True, raise_exceptions=True
        )

    def options(self, **changed):
        told = {"url": f"ldap://127.0.0.1:{self.port}", "base": "dc=x", "page_size": 2}
        return {**told, "bind_dn": ADMIN, "password": "env:SLAPD_PASSWORD", **changed}


#: Where Debian's package was installed or unpacked.
ROOT = Path(SLAPD or "/usr/sbin/slapd").resolve().parents[2]


def configuration(folder: Path) -> str:
    schemas = [
        ROOT / "etc" / "ldap" / "schema" / f"{one}.schema" for one in ("core", "cosine", "inetorgperson")
    ]
    return "\n".join(
        (
            *(f"include {one}" for one in schemas),
            f"modulepath {ROOT / 'usr' / 'lib' / 'ldap'}",
            "moduleload back_mdb",
            "moduleload memberof",
            "database mdb",
            'suffix "dc=x"',
            f'rootdn "{ADMIN}"',
            f"rootpw {PASSWORD}",
            f"directory {folder}",
            f'limits dn.exact="{SMALL}" size.soft=3 size.hard=3 size.prtotal=3',
            "overlay memberof",
            "memberof-refint TRUE",
        )
    )


def fill(server: Slapd) -> None:
    with server.admin() as admin:
        admin.add("dc=x", ["dcObject", "organization"], {"o": "X"})
        admin.add("ou=people,dc=x", "organizationalUnit")
        for uid in PEOPLE:
            values = {"cn": uid.title(), "sn": uid.title(), "mail": f"{uid}@x.example"}
            admin.add(f"uid={uid},ou=people,dc=x", "inetOrgPerson", values)
        admin.add("ou=groups,dc=x", "organizationalUnit")
        admin.add(SMALL, "inetOrgPerson", {"cn": "Small", "sn": "Small", "userPassword": PASSWORD})
        members = [f"uid={uid},ou=people,dc=x" for uid in ("ada", "bob")]
        admin.add("cn=crew,ou=groups,dc=x", "groupOfNames", {"member": members})
        within = ["cn=crew,ou=groups,dc=x", "uid=cyd,ou=people,dc=x"]
        admin.add("cn=everyone,ou=groups,dc=x", "groupOfNames", {"member": within})


@pytest.fixture
def server(tmp_path: Path, free_port: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[Slapd]:
    monkeypatch.setenv("SLAPD_PASSWORD", PASSWORD)
    folder = tmp_path / "directory"
    folder.mkdir()
    (tmp_path / "slapd.conf").write_text(configuration(folder))
    command = [
        str(SLAPD),
        "-d",
        "0",
        "-f",
        str(tmp_path / "slapd.conf"),
        "-h",
        f"ldap://127.0.0.1:{free_port}",
    ]
    libraries = os.pathsep.join(map(str, (ROOT / "usr" / "lib").glob("*-linux-gnu")))
    environment = os.environ | {"LD_LIBRARY_PATH": libraries}
    with subprocess.Popen(command, stderr=subprocess.PIPE, env=environment) as process:
        started = Slapd(free_port, process)
        try:
            for _ in range(200):
                try:
                    started.admin().unbind()
                    break
                except LDAPException:
                    assert process.poll() is None, process.stderr and process.stderr.read().decode()
                    time.sleep(0.05)
            fill(started)
            yield started
        finally:
            process.kill()


def test_memberships_are_what_the_server_keeps(say, server, tmp_path):
    said = say(tmp_path, "ldap", server.options())
    assert said.problems == []
    assert said.typed("MEMBER_OF") == {
        ("person:ada", "group:crew"),
        ("person:bob", "group:crew"),
        ("person:cyd", "group:everyone"),
    }
    assert said.typed("SUBGROUP_OF") == {("group:crew", "group:everyone")}
    assert said.entities["person:ada"].values["email"] == "ada@x.example"
    assert PASSWORD not in repr(said)
    with server.admin() as admin:
        admin.search("dc=x", "(uid=ada)", attributes=["memberOf"])
        assert admin.entries[0].memberOf.values == ["cn=crew,ou=groups,dc=x"]
        admin.delete("uid=ada,ou=people,dc=x")  # whom the server takes out of her group by itself
        admin.modify("cn=everyone,ou=groups,dc=x", {"member": [(MODIFY_ADD, ["uid=dan,ou=people,dc=x"])]})
    said = say(tmp_path, "ldap", server.options())
    assert said.problems == []
    assert "person:ada" not in said.entities
    assert said.typed("MEMBER_OF") == {
        ("person:bob", "group:crew"),
        ("person:cyd", "group:everyone"),
        ("person:dan", "group:everyone"),
    }


def test_each_change_is_one_by_the_servers_own_count(make_organization, server, tmp_path):
    """Two within a second differ, too: `entryCSN`."""
    organization = make_organization(
        tmp_path, {"name": "s", "connector": "ldap", "options": server.options()}
    )
    connector = build(organization, organization.source[0], {})
    [scope] = connector.scopes()
    crew, bob = "cn=crew,ou=groups,dc=x", "uid=bob,ou=people,dc=x"
    with server.admin() as admin:
        for change in (
            lambda: admin.modify(bob, {"title": [(MODIFY_REPLACE, ["Pilot"])]}),
            lambda: admin.modify(bob, {"title": [(MODIFY_REPLACE, ["Captain"])]}),
            lambda: admin.modify(crew, {"member": [(MODIFY_DELETE, [bob])]}),
        ):
            [position] = [one for one in connector.read(scope) if isinstance(one, Position)]
            assert list(connector.changes(scope, position.text)) == []
            change()
            with pytest.raises(PositionLostError):
                list(connector.changes(scope, position.text))


def test_a_limit_of_the_server_or_its_end_is_no_whole_reading(say, server, tmp_path):
    with pytest.raises(SourceError, match="LimitExceeded"):
        say(tmp_path, "ldap", server.options(bind_dn=SMALL))

    def kill(page: str) -> None:
        if page == "page 3":
            server.process.kill()
            server.process.wait()

    with watched(kill), pytest.raises(SourceError, match="the directory cannot be read"):
        say(tmp_path, "ldap", server.options())
