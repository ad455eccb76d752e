"""Whoever has not the certificate that a node is bound to hears nothing, over real TLS on loopback."""

import asyncio
from datetime import timedelta

import pytest

from inference.engine_client import NodeError, NodeUnreachable
from tests.certificates import make_certificate
from tests.inference import openai_server as said

PATH = "/v1/chat/completions"


@pytest.fixture
def certificate(tmp_path):
    return make_certificate(tmp_path / "node")


async def post(client, node):
    return await client.post_json(node, PATH, {"secret": 1}, asyncio.get_running_loop().time() + 5)


async def test_the_node_that_has_the_certificate_is_spoken_to(client, make_node, certificate):
    async with said.openai_server(certificate.server()) as server:
        server.answers[PATH] = said.completion("Ada")
        node = make_node(endpoint=server.endpoint, certificate=certificate.digest)
        assert (await post(client, node))["choices"]
        assert len(server.requests) == 1


async def test_another_in_its_place_hears_nothing_also_on_a_later_connection(
    client, make_node, certificate, tmp_path
):
    """First the node itself; then somebody else answers on its address with a certificate of their own."""
    async with said.openai_server(certificate.server()) as server:
        server.answers[PATH] = said.completion("Ada")
        node = make_node(endpoint=server.endpoint, certificate=certificate.digest)
        await post(client, node)
        port = int(server.endpoint.rpartition(":")[2])
    other = make_certificate(tmp_path / "other")
    async with said.openai_server(other.server(), port) as impostor:
        impostor.answers[PATH] = said.completion("stolen")
        with pytest.raises(NodeUnreachable, match="not the one that its statement binds it to; enrol it"):
            await post(client, node)
        assert impostor.requests == []


async def test_a_certificate_that_has_expired_is_none(client, make_node, tmp_path):
    expired = make_certificate(tmp_path, until=timedelta(seconds=-1))
    async with said.openai_server(expired.server()) as server:
        server.answers[PATH] = said.completion("late")
        with pytest.raises(NodeUnreachable, match=r"its TLS certificate holds from .* until"):
            await post(client, make_node(endpoint=server.endpoint, certificate=expired.digest))
        assert server.requests == []


async def test_a_node_that_is_bound_is_never_spoken_to_in_the_clear(client, make_node, server, certificate):
    server.answers[PATH] = said.completion("open")
    with pytest.raises(NodeUnreachable, match="its endpoint is plain http"):
        await post(client, make_node(endpoint=server.endpoint, certificate=certificate.digest))
    assert server.requests == []
    endpoint = server.endpoint.replace("http:", "https:")
    with pytest.raises(NodeError):
        await post(client, make_node(endpoint=endpoint, certificate=certificate.digest))
    assert [body for _, _, body in server.requests if b"secret" in body] == []


async def test_what_the_system_does_not_trust_is_not_trusted_without_a_statement(
    client, make_node, certificate
):
    async with said.openai_server(certificate.server()) as server:
        server.answers[PATH] = said.completion("?")
        with pytest.raises(NodeUnreachable, match="certificate is not trusted"):
            await post(client, make_node(endpoint=server.endpoint))
        assert server.requests == []
