"""Gather the waiting events of all processes for the one that serves the operator, and pass on an operator's cancel."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from bothost.journal.entry import Entry

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from bothost.host.workers.siblings import Siblings
    from bothost.pipeline.journal_poller import JournalPoller

_QUESTION = "waiting"
_WISH = "cancel"
_PART = 500
_DECODER = msgspec.msgpack.Decoder(list[Entry])


class WaitingEvents:
    """The waiting events of this process and of its siblings, if it has any."""

    def __init__(self, poller: JournalPoller, siblings: Siblings | None) -> None:
        self._poller = poller
        self._siblings = siblings
        if siblings is not None:
            siblings.answers[_QUESTION] = self._answer
            siblings.hears[_WISH] = lambda key: poller.cancel(key.decode())

    async def waiting(self) -> list[Entry]:
        """See `HostView.waiting`."""
        entries = self._poller.waiting()
        told = await self._siblings.ask(_QUESTION) if self._siblings is not None else {}
        for parts in told.values():
            for part in parts:
                entries += _DECODER.decode(part)
        return entries

    def cancel(self, key: str) -> None:
        """See `HostView.cancel`."""
        self._poller.cancel(key)
        if self._siblings is not None:
            self._siblings.tell(_WISH, key.encode())

    async def _answer(self) -> AsyncIterator[bytes]:
        entries = self._poller.waiting()
        for first in range(0, len(entries), _PART):
            yield msgspec.msgpack.encode(entries[first : first + _PART])
