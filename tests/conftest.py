"""What tests with real sockets share."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING

import pytest
from tornado.ioloop import IOLoop

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from tests.postgres_server import PostgresServer

os.environ["LC_ALL"] = "C.UTF-8"  # commands speak the terminal's language, and tests compare what they say in English


@pytest.fixture
def io_loop() -> Iterator[IOLoop]:
    """A loop of this test's own; pytest-tornado's asks for the default loop, which Python 3.12 warns of."""
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    made = IOLoop(asyncio_loop=loop, make_current=False)
    yield made
    asyncio.set_event_loop(None)
    made.close(all_fds=False)


@pytest.fixture
def postgres() -> Iterator[PostgresServer]:
    """A PostgreSQL server of the test's own, for tests that stop it or end hosts on it."""
    from tests.postgres_server import PostgresServer  # not above: a test copies this file into a folder of its own

    server = PostgresServer()
    server.start()
    yield server
    server.close()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Under `make test-full` a skipped test is a failed one: what it needs must be installed, not missed."""
    report = yield
    if os.environ.get("NO_SKIPS") and report.skipped and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"skipped, which test-full does not allow: {report.longrepr}"
    return report
