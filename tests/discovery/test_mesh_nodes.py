"""A mesh node is what an attester signed of it, until its statement ends; nobody else's word counts."""

import json
from datetime import UTC, datetime, timedelta

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from discovery.node_statements import LONGEST, StatementRefused, sign_statement

NODE = {
    "endpoint": "https://node.example:8000",
    "jurisdiction": "EU",
    "region": "eu-central",
    "silicon": "nvidia-l40s",
    "models": ["m"],
}
SAID = {"sub": "mesh_node:frankfurt", "certificate": "ab" * 32, "node": NODE}
DAY = timedelta(days=1)


def pem(key) -> str:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def public(key) -> bytes:
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


KEY = ed25519.Ed25519PrivateKey.generate()


def signed(said=SAID, key=KEY, attester="facilities", audience="acme", lifetime=DAY) -> str:
    return sign_statement(pem(key), attester, audience, said, lifetime)


def claims_of(text: str) -> dict:
    return jwt.decode(text, options={"verify_signature": False})


@pytest.fixture
def read(tmp_path, say):
    (tmp_path / "facilities.pem").write_bytes(public(KEY))
    (tmp_path / "nodes").mkdir()

    def said(*statements: str):
        for number, text in enumerate(statements):
            (tmp_path / "nodes" / f"{number}.jwt").write_text(text + "\n")
        options = {"folder": "nodes", "attesters": {"facilities": "facilities.pem"}}
        return say(tmp_path, "mesh-nodes", options)

    return said


def test_a_node_is_what_its_statement_says_until_it_ends(read):
    said = read(signed(SAID | {"node": NODE | {"owner": "group:engineering", "certifications": ["GDPR"]}}))
    assert said.problems == []
    claim = said.entities["mesh_node:frankfurt"]
    assert (claim.class_name, claim.collection) == ("MeshNode", "collection:all")
    assert claim.values["certificateDigest"] == "ab" * 32
    assert (claim.values["jurisdiction"], claim.values["certification"]) == (("EU",), ("GDPR",))
    assert claim.values["endpoint"] == "https://node.example:8000"
    assert timedelta(0) < claim.valid_to - datetime.now(UTC) <= DAY
    assert "attested by facilities" in claim.evidence
    assert said.typed("OWNS") == {("group:engineering", "mesh_node:frankfurt")}


def test_the_newest_statement_counts_whatever_its_file_is_called(read):
    older = claims_of(signed())
    older["iat"] -= 60
    older["node"] = NODE | {"jurisdiction": "US"}
    assert read(signed(), jwt.encode(older, KEY, "EdDSA")).entities["mesh_node:frankfurt"].values[
        "jurisdiction"
    ] == ("EU",)


@pytest.mark.parametrize(
    "key", [ec.generate_private_key(ec.SECP256R1()), rsa.generate_private_key(65537, 2048)]
)
def test_attesters_have_keys_of_several_kinds(read, tmp_path, key):
    (tmp_path / "facilities.pem").write_bytes(public(key))
    text = signed(key=key)
    (tmp_path / "facilities.pem").write_bytes(public(key))
    assert "mesh_node:frankfurt" in read(text).entities


def forged(**changes) -> str:
    """Signed by the attester, but not of the form."""
    return jwt.encode(claims_of(signed()) | changes, KEY, "EdDSA")


def moved() -> str:
    """The node says that it is elsewhere: its statement, changed after it was signed."""
    head, _, signature = signed().split(".")
    claims = claims_of(signed())
    claims["node"]["jurisdiction"] = "US"
    body = jwt.utils.base64url_encode(json.dumps(claims).encode()).decode()
    return f"{head}.{body}.{signature}"


NOW = int(datetime.now(UTC).timestamp())


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (moved(), "not signed with the key of the attester 'facilities'"),
        (signed(key=ed25519.Ed25519PrivateKey.generate()), "not signed with the key"),
        (
            signed(attester="the-node-itself"),
            "one of the attesters facilities, found one of 'the-node-itself'",
        ),
        (signed(audience="another-company"), "expected a signed statement"),
        (jwt.encode(claims_of(signed()), None, "none"), "expected a signed statement"),
        (jwt.encode(claims_of(signed()), "x" * 64, "HS256"), "expected a signed statement"),
        ("no statement", "expected a signed statement"),
        (forged(iat=NOW + 3600, exp=NOW + 7200), "issued in the future"),
        (forged(exp=NOW + int(LONGEST.total_seconds()) + 9), "more than 366 days"),
        (forged(exp="soon"), "exp"),
        (forged(sub="person:ada"), "expected the id of a mesh node"),
        (forged(sub="mesh_node:../../x"), "expected the id of a mesh node"),
        (forged(cnf={}), "the SHA-256 of the node's TLS certificate"),
        (forged(cnf={"x5t#S256": "YWI"}), "the SHA-256 of the node's TLS certificate"),
        (forged(node=NODE | {"endpoint": "http://node.example"}), "node.endpoint"),
        (forged(node=NODE | {"endpoint": "https://a@b.example"}), "node.endpoint"),
        (
            forged(node=NODE | {"clearence": 3}),
            "node.clearence: Extra inputs are not permitted; its fields are",
        ),
        (forged(node=None), "node."),
    ],
)
def test_what_no_attester_said_is_a_problem_and_the_rest_goes_on(read, text, why):
    said = read(text, signed(SAID | {"sub": "mesh_node:dublin"}))
    assert list(said.entities) == ["mesh_node:dublin"]
    [problem] = said.problems
    assert why in problem.message, problem.message


def test_a_weak_key_attests_nothing():
    with pytest.raises(StatementRefused, match="2048 bits or more"):
        signed(key=rsa.generate_private_key(65537, 1024))  # noqa: S505  that is what is tested
