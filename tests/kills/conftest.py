"""What the tests share that kill, freeze and cut off real hosts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.postgres_server import PostgresServer

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def postgres() -> Iterator[PostgresServer]:
    """A server of the test's own, for tests stop it."""
    server = PostgresServer()
    server.start()
    yield server
    server.close()
