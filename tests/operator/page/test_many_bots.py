"""Ten thousand bots: the page and a scrape leave the loop to the deliveries."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import TYPE_CHECKING

import pytest
from tests.operator.page.site import TOKEN, Site

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.full, pytest.mark.alone]

BOTS = 10_000


@pytest.fixture(scope="module")
def crowd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    sections = (f"[bot:b{n}]\nplugin = autoreply\nsecret = key-of-the-bot-{n:06}-0123456789\n" for n in range(BOTS))
    site = Site(tmp_path_factory.mktemp("many"), f"[host]\noperator_token = {TOKEN}\ndrain = 1s\n" + "".join(sections))
    site.start(patience_s=120)
    metrics = site.host.resources.count
    for n in range(BOTS):
        metrics.delivery(f"b{n}", "replied", 200, 0.01)
        metrics.run(f"b{n}", 0.01, failed=False)
    yield site
    site.stop()


async def worst_lag(over: threading.Event) -> float:
    """How late the loop was for a timer of 2 ms, at the worst, until it is over."""
    loop = asyncio.get_running_loop()
    worst = 0.0
    while not over.is_set():
        due = loop.time() + 0.002
        await asyncio.sleep(0.002)
        worst = max(worst, loop.time() - due)
    return worst


@pytest.mark.parametrize("path", ["/metrics", "/", "/?state=trouble", "/?q=b99", "/readyz", "/bots/b5", "/plugins"])
def test_the_loop_is_never_held_up_for_fifty_milliseconds(crowd: Site, path: str) -> None:
    lags = []
    for _ in range(3):  # other work on this machine may take the processor away: the best of three counts
        over = threading.Event()
        measuring = asyncio.run_coroutine_threadsafe(worst_lag(over), crowd.loop)
        time.sleep(0.05)
        assert crowd.get(path).status == 200
        over.set()
        lags.append(measuring.result(10))
        if lags[-1] < 0.05:
            return
        time.sleep(5.1 if path == "/metrics" else 0)
    pytest.fail(f"{path} held the loop for {[round(lag * 1000) for lag in lags]} ms")


def test_a_scrape_names_two_thousand_bots_and_sums_the_others(crowd: Site) -> None:
    lines = [line for line in crowd.get("/metrics").text.splitlines() if line.startswith("bothost_deliveries_total{")]
    assert len(lines) == 2_001
    assert 'bothost_deliveries_total{bot="other",outcome="replied"} 8000.0' in lines
