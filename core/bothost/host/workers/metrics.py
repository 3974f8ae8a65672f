"""Add up the counts of all processes of a host, also of ended ones, so that no count falls because one dies or is late.

Prometheus takes a count that falls for one that began anew, and adds all of it once more.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

import msgspec

from bothost.host.workers.siblings import ANSWER_S
from bothost.telemetry.metrics import MetricsSnapshot

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from bothost.host.workers.siblings import Siblings

QUESTION = "report"
_GONE, _OWN = "gone", "own"
_ENCODE = msgspec.msgpack.Encoder().encode
_DECODE = msgspec.msgpack.Decoder(MetricsSnapshot).decode


class WorkerMetrics:
    """Worker 0's knowledge of all workers. `own` reports for this process; used on the loop."""

    def __init__(self, siblings: Siblings, own: Callable[[], Awaitable[MetricsSnapshot]]) -> None:
        self._siblings = siblings
        self._own = own
        self._last: dict[int, list[MetricsSnapshot]] = {}
        """The last report of each sibling, in its pieces."""
        self._gone = MetricsSnapshot(process="")
        """The counts of processes that have ended."""
        self._going: asyncio.Task[Sequence[MetricsSnapshot]] | None = None

    async def gather(self) -> Sequence[MetricsSnapshot]:
        """Return the reports of all processes, this one's first. Calls at the same time share one."""
        if self._going is None:
            self._going = asyncio.get_running_loop().create_task(self._gather())
            self._going.add_done_callback(self._over)
        return await asyncio.shield(self._going)

    def _over(self, _done: object) -> None:
        self._going = None

    async def _gather(self) -> Sequence[MetricsSnapshot]:
        siblings = self._siblings
        await self._inherit()
        own = await self._own()
        own.restarts = dict(siblings.restarts)
        for number, parts in (await siblings.ask(QUESTION)).items():
            await self._hear(number, parts)
        kept = {_GONE: await _encoded(self._gone), _OWN: await _encoded(own)}
        siblings.keep(kept)
        # the kept figures are shown and not the living ones, because the next worker 0 begins with the kept ones
        shown = [*await _decoded(kept[_OWN]), *await _decoded(kept[_GONE])]
        return [*shown, *(piece for pieces in self._last.values() for piece in pieces)]

    async def _inherit(self) -> None:
        """Take over the counts that the worker 0 before this one left with the supervisor: its own and those of ended ones."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(ANSWER_S):
                await self._siblings.complete.wait()
        left, self._siblings.inherited = self._siblings.inherited, {}
        for piece in await _decoded([*left.get(_GONE, ()), *left.get(_OWN, ())]):
            await self._bury(piece)

    async def _hear(self, number: int, parts: Sequence[bytes]) -> None:
        """Take a sibling's report. Without a part the sibling is not there at present, and its last report stays."""
        before = self._last.get(number, [])
        if not parts:
            self._last[number] = [_stilled(piece) for piece in before]
            return
        pieces = await _decoded(parts)
        if before and before[0].started != pieces[0].started:
            for piece in before:
                await self._bury(piece)
        self._last[number] = pieces

    async def _bury(self, piece: MetricsSnapshot) -> None:
        self._gone.outlive(piece)
        await asyncio.sleep(0)


def _stilled(piece: MetricsSnapshot) -> MetricsSnapshot:
    """Return the counts of an ended process without its state."""
    return msgspec.structs.replace(piece, now={}, limits={}, running=0, lag_worst=0.0)


async def _encoded(snapshot: MetricsSnapshot) -> list[bytes]:
    parts = []
    for piece in snapshot.pieces():
        parts.append(_ENCODE(piece))
        await asyncio.sleep(0)  # a piece is 500 bots, and between two pieces the loop serves others
    return parts


async def _decoded(parts: Sequence[bytes]) -> list[MetricsSnapshot]:
    pieces = []
    for part in parts:
        pieces.append(_DECODE(part))
        await asyncio.sleep(0)
    return pieces
