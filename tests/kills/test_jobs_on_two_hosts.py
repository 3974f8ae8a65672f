"""A job that one host has put and another one runs."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import pytest
from tests.e2e.site import HostSite
from tests.e2e.test_jobs import PLUGINS, ran

if TYPE_CHECKING:
    from pathlib import Path

    from tests.postgres_server import PostgresServer


@pytest.mark.full
def test_a_job_set_on_one_host_runs_once_on_the_other(tmp_path: Path, postgres: PostgresServer) -> None:
    url = postgres.new_database()
    hosts = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        hosts.append(HostSite(tmp_path / name, PLUGINS, "one: plugin = Later", f"journal = {url}\n"))
    for host in hosts:
        host.start({"NOTES": str(tmp_path)})
    try:
        hosts[0].deliver("one", 5, 1, text="2s")
        hosts[0].tell(signal.SIGKILL)
        hosts[1].until(lambda: ran(tmp_path, 5))
        assert [why for _, why in ran(tmp_path, 5)] == ["first"]
    finally:
        for host in hosts:
            host.end()
