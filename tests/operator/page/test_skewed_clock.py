"""A host whose clock is wrong, on a shared journal: what is shown of its events goes by the journal's time, and the skew is told."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from tests.operator.page.site import INI, Site, wait_for

from bothost.clock import SystemClock

if TYPE_CHECKING:
    from pathlib import Path

    from tests.postgres_server import PostgresServer

HOUR_S = 3600.0


class TurnedClock(SystemClock):
    """Real time, but for a wall clock that is off."""

    def __init__(self, ahead_s: float) -> None:
        self._ahead = timedelta(seconds=ahead_s)

    def now(self) -> datetime:  # type: ignore[override]
        return datetime.now(UTC) + self._ahead

    def epoch(self) -> float:  # type: ignore[override]
        return self.now().timestamp()


@pytest.mark.full
@pytest.mark.parametrize(("ahead_s", "way"), [(HOUR_S, "ahead of"), (-HOUR_S, "behind")])
def test_a_host_whose_clock_is_wrong_shows_what_is_right(
    tmp_path: Path, postgres: PostgresServer, ahead_s: float, way: str
) -> None:
    ini = INI.replace("[host]\n", f"[host]\njournal = {postgres.new_database()}\n")
    site = Site(tmp_path, ini, clock=TurnedClock(ahead_s)).start()
    try:
        now = site.host.resources.journal.now()
        at = {"created": now - 120, "seen_at": now - 120, "updated": now - 120}
        site.failed(1, **at)
        site.keep(
            id="autoreply:2:comment:2", task=2, turn="2", state="ready", door="api", answer=None, due=now + 900, **at
        )
        listed = site.get("/deliveries?since=1h").text
        assert listed.count("2 min ago") == 2
        assert "2 min ago" in site.get("/deliveries/autoreply:1:comment:1").text
        (row,) = [one for one in json.loads(site.get("/bots.json").text) if one["bot"] == "autoreply"]
        assert row["failed_runs_last_hour"] == 1
        assert "2 min ago" in site.get("/bots/autoreply").text.partition("Last delivery")[2][:200]
        metrics = site.get("/metrics").text
        (age,) = re.findall(r"^bothost_oldest_parked_seconds (\S+)$", metrics, re.MULTILINE)
        assert 120 <= float(age) < 180
        wait_for(lambda: f"its clock is 3600 s {way} the journal" in site.get("/about").text)
        about = site.get("/about").text
        started = about.partition("All hosts on this journal")[2]
        assert "alive" in started
        assert "1 h ago" not in started
        assert "на 3600 с" in site.get("/about", Accept_Language="ru").text
        for address in ("/deliveries/%00", "/deliveries/autoreply:1:comment:1%00"):
            assert site.get(address).status == 404, "PostgreSQL holds no zero characters"
        assert site.put(site.log_in(), "/bulk", {"verb": "retry", "key": "\0"}).status == 200
    finally:
        site.stop()
