"""What tests with real sockets share."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from tornado.ioloop import IOLoop

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def io_loop() -> Iterator[IOLoop]:
    """A loop of this test's own; pytest-tornado's asks for the default loop, which Python 3.12 warns of."""
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    made = IOLoop(asyncio_loop=loop, make_current=False)
    yield made
    asyncio.set_event_loop(None)
    made.close(all_fds=False)
