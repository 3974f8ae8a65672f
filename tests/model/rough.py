"""The way to Pyrus's API on which things go wrong."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from tests.model.process import PROCESS

from bothost.errors import CallUnclear, CallUnsent
from bothost.testing.fake_pyrus.faults import ApiFault, answer, gateway, limited, refuse_connection
from bothost.testing.fake_pyrus.transport import FakeTransport

if TYPE_CHECKING:
    from tests.model.process import Process
    from tests.model.world import World

    from bothost.pyrus.rest.requests import ApiResponse
    from bothost.pyrus_client.transport import HttpRequest


class RoughTransport(FakeTransport):
    """The way of one process to Pyrus: requests on their way arrive also when the process dies."""

    def __init__(self, world: World, process: Process) -> None:
        super().__init__(world.pyrus)
        self._world = world
        self._process = process

    async def fetch(self, sending: HttpRequest) -> ApiResponse:
        world, process = self._world, self._process
        process.breathe()
        posts = sending.request.method == "POST" and "comments" in sending.url
        world.maybe_kill(process, world.odds.crash_at_call)
        if world.troubled and world.rng.random() < world.odds.api_trouble:
            self._trouble(sending, posts=posts)
        loop = asyncio.get_running_loop()
        token = PROCESS.set(None)  # whatever is under way belongs to the world, not to the process
        try:
            under_way = loop.create_task(self._arrive(sending))
        finally:
            PROCESS.reset(token)
        answer = await asyncio.shield(under_way)
        process.breathe()
        world.maybe_kill(process, world.odds.crash_at_call)
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def _arrive(self, sending: HttpRequest) -> ApiResponse | Exception:
        await asyncio.sleep(self._world.rng.uniform(0, 0.5))
        try:
            return await super().fetch(sending)
        except (CallUnclear, CallUnsent) as error:
            return error

    def _trouble(self, sending: HttpRequest, *, posts: bool) -> None:
        rng, pyrus = self._world.rng, self._world.pyrus
        if rng.random() < 0.15:
            pyrus.revoke(sending.headers.get("Authorization", "").removeprefix("Bearer "))
            return
        applied = posts and rng.random() < 0.5
        fault = rng.choice(
            [
                gateway(502, applied=applied),
                answer(500, "server_error", applied=applied),
                limited(20),
                ApiFault(applied=applied, ending="lost"),
                ApiFault(applied=applied, ending="lost", delay_s=-40.0),
                refuse_connection(),
            ]
        )
        pyrus._script.clear()
        pyrus.fail(f"{sending.request.method} tasks/*", fault, times=1)
