"""The journal under test: embedded in `make test`, shared as well in `make test-full`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.journal.journals import JournalMaker
from tests.postgres_server import PostgresServer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    server = PostgresServer()
    server.start()
    yield server
    server.close()


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.full)])
def journal(request: pytest.FixtureRequest, tmp_path: Path) -> JournalMaker:
    if request.param == "sqlite":
        return JournalMaker(tmp_path / "state")
    server: PostgresServer = request.getfixturevalue("postgres")
    return JournalMaker(tmp_path / "state", server.new_database())


@pytest.fixture
def embedded(tmp_path: Path) -> JournalMaker:
    """The embedded journal alone."""
    return JournalMaker(tmp_path / "state")
