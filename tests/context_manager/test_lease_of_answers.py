"""Only what was begun and finished under one lease is answered."""

from collections.abc import Awaitable, Callable

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from context_manager.http_app import answering
from graph.service_lease import NoLeaseError


class Lease:
    """As `ServiceLease.held`; None while there is none."""

    def __init__(self, count: int | None) -> None:
        self.count = count

    def __call__(self) -> int:
        if self.count is None:
            raise NoLeaseError("this process has no lease")
        return self.count


Asked = Callable[[Lease, Callable[[], None]], Awaitable[tuple[int, str]]]


@pytest.fixture
def asked() -> Asked:
    async def ask(lease: Lease, meanwhile: Callable[[], None]) -> tuple[int, str]:
        async def answer(request: web.Request) -> web.Response:
            if request.method == "POST":
                meanwhile()
            return web.Response(text="a fact")

        app = web.Application(middlewares=[answering(lease)])
        app.router.add_post("/graphql", answer)
        app.router.add_get("/health/live", answer)
        async with TestClient(TestServer(app)) as client:
            assert (await client.get("/health/live")).status == 200
            response = await client.post("/graphql")
            assert ("Retry-After" in response.headers) == (response.status == 503)
            return response.status, await response.text()

    return ask


async def test_under_one_lease(asked: Asked) -> None:
    assert await asked(Lease(1), lambda: None) == (200, "a fact")


@pytest.mark.parametrize("then", [None, 2])
async def test_not_where_it_was_lost_meanwhile_though_it_was_found_again(
    asked: Asked, then: int | None
) -> None:
    lease = Lease(1)
    status, text = await asked(lease, lambda: setattr(lease, "count", then))
    assert (status, "a fact" in text) == (503, False)


async def test_not_without_one(asked: Asked) -> None:
    status, text = await asked(Lease(None), lambda: None)
    assert (status, "this process has no lease" in text) == (503, True)
