"""kill -9 right after the 202 of an accepted request, on the shared journal."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from tests.e2e.site import HostSite
from tests.e2e.test_hooks import BOTS, PLUGINS, kill_after_202

if TYPE_CHECKING:
    from pathlib import Path

    from tests.postgres_server import PostgresServer


@pytest.mark.full
def test_kill_9_after_the_202_loses_nothing_of_a_shared_journal(tmp_path: Path, postgres: PostgresServer) -> None:
    """25 times with BOTHOST_LONG=1."""
    site = HostSite(tmp_path, PLUGINS, BOTS.replace("{run}", "auto"), f"journal = {postgres.new_database()}\n").start()
    try:
        kill_after_202(site, 25 if os.environ.get("BOTHOST_LONG") else 2)
    finally:
        site.end()
