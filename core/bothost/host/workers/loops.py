"""Tell the other workers of a host about loops that are down, so that /readyz of each knows of all."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bothost.background import SupervisedLoops
    from bothost.clock import Clock
    from bothost.host.workers.siblings import Siblings

_WORD = "loops"
TRUSTED_S = 5.0
"""The seconds for which a report counts. A worker that stops reporting has mended its loop, or has ended."""


class LoopsDown(msgspec.Struct, array_like=True):
    """The loops of one worker that are down, each with its fault."""

    worker: int
    down: dict[str, str]


_DECODER = msgspec.msgpack.Decoder(LoopsDown)


class SiblingLoops:
    """Tells siblings about this worker's loops that are down, and knows theirs. Call `tell` each second."""

    def __init__(self, siblings: Siblings, loops: SupervisedLoops, clock: Clock) -> None:
        self._siblings = siblings
        self._loops = loops
        self._clock = clock
        self._told: dict[int, tuple[float, dict[str, str]]] = {}
        siblings.hears[_WORD] = self._hear

    def tell(self) -> None:
        """Tell the siblings which loops are down here. Send nothing while all run."""
        down = dict(self._loops.down())
        if down:
            self._siblings.tell(_WORD, msgspec.msgpack.encode(LoopsDown(self._siblings.worker.number, down)))

    def down(self) -> Mapping[str, str]:
        """Return the loops that siblings reported within the last seconds, each with its fault."""
        now = self._clock.monotonic()
        return {
            f"{name} of worker {worker}": fault
            for worker, (at, faults) in self._told.items()
            if now - at < TRUSTED_S
            for name, fault in faults.items()
        }

    def _hear(self, data: bytes) -> None:
        told = _DECODER.decode(data)
        self._told[told.worker] = (self._clock.monotonic(), told.down)
