"""The page with a hundred bots, ten of them broken, and with none; and the pictures that README and guide show.

`BOTHOST_PICTURES=docs/images pytest tests/browser/test_pictures.py` takes the pictures anew.
"""

from __future__ import annotations

import os
import random
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.browser.conftest import Browser
from tests.operator.page.site import TOKEN, Site

from bothost.telemetry.metrics import Metrics, MinuteFigures

if TYPE_CHECKING:
    from collections.abc import Iterator

    from selenium import webdriver

pytestmark = pytest.mark.full

NAMES = (
    "refunds",
    "invoices",
    "vacations",
    "contracts",
    "travel",
    "onboarding",
    "helpdesk",
    "approvals",
    "reminders",
    "surveys",
)
HEAD = f"[host]\noperator_token = {TOKEN}\npublic_url = https://bots.example.com\ndrain = 1s\n"


def section(name: str, plugin: str) -> str:
    return f"[bot:{name}]\nplugin = {plugin}\nsecret = key-of-the-bot-{name}-0123456789\non_error = ignore\n"


@pytest.fixture
def crowd(driver: webdriver.Chrome, plugin: Path, tmp_path: Path) -> Iterator[Browser]:
    """A hundred bots; ten ask for a plugin that nobody has."""
    numbered = [name if number == 0 else f"{name}-{number + 1}" for number in range(10) for name in NAMES]
    ini = HEAD + "".join(
        section(name, "flaky" if place % 10 != 7 else "aprovals") for place, name in enumerate(numbered)
    )
    site = Site(tmp_path, ini).start()
    driver.delete_all_cookies()
    browser = Browser(driver, site)
    for number in range(60):
        name = numbered[(number * 7) % 100 - (number * 7 % 10 == 7)]
        browser.deliver(48_000 + number, name, f"key-of-the-bot-{name}-0123456789")
    yield browser
    driver.get("about:blank")
    site.stop()


def picture(browser: Browser, name: str, height: int) -> None:
    folder = os.environ.get("BOTHOST_PICTURES")
    width = browser.driver.execute_script("return innerWidth")
    scheme = (
        "dark"
        if browser.driver.execute_script("return matchMedia('(prefers-color-scheme: dark)').matches")
        else "light"
    )
    browser.look(scheme, width, height)
    shot = browser.driver.get_screenshot_as_png()
    assert len(shot) > 5_000
    if folder:
        Path(folder).mkdir(parents=True, exist_ok=True)
        (Path(folder) / f"{name}.png").write_bytes(shot)


def test_a_hundred_bots_ten_of_them_broken_are_read_at_every_width(crowd: Browser) -> None:
    crowd.log_in()
    assert crowd.find(".tile.bad dd").text == "10"
    # read at once, because the page refreshes itself and the elements of a moment ago are gone
    states = "return [...document.querySelectorAll('table.bots .state')].map(each => each.innerText)"
    first = crowd.driver.execute_script(states)[:11]
    assert first == ["plugin error"] * 10 + ["active"]
    for width in (360, 800, 1440):
        crowd.look(width=width)
        for path in ("/", "/?state=trouble", "/deliveries", "/plugins", "/bots/approvals"):
            crowd.open(path)
            assert crowd.driver.execute_script("return document.documentElement.scrollWidth") <= width, (path, width)


def test_pictures_for_readme_and_guide(driver: webdriver.Chrome, plugin: Path, tmp_path: Path) -> None:
    ini = (
        HEAD + "".join(section(name, "flaky") for name in NAMES) + section("relay", "realy").replace("0123456789", "1")
    )
    site = Site(
        tmp_path, ini.replace("[bot:surveys]\nplugin = flaky", "[bot:surveys]\nplugin = flaky\ntimeout = 5")
    ).start()
    driver.delete_all_cookies()
    browser = Browser(driver, site)
    try:
        an_hour(site)
        for number, name in enumerate(NAMES[:9]):
            if name == "refunds":
                (plugin / "broken").touch()
            browser.deliver(48_211 + 7 * number, name, f"key-of-the-bot-{name}-0123456789")
            (plugin / "broken").unlink(missing_ok=True)
        browser.log_in()
        site.do(site.host.resources.journal.control("pause:travel", "waits for the new key from accounting"))
        browser.look("light", 1280, 900)
        browser.open("/")
        picture(browser, "bots", 800)
        browser.open("/deliveries?state=failed")
        browser.find("table.entries tbody a").click()
        assert "cannot be read: is the share mounted?" in browser.find(".trouble .reason").text
        picture(browser, "a-failed-delivery", 900)
        browser.look("dark", 390, 844)
        browser.open("/deliveries")
        picture(browser, "deliveries-on-a-phone", 844)
    finally:
        driver.get("about:blank")
        site.stop()


def an_hour(site: Site) -> None:
    """As if the host had run for an hour: the same figures each time."""
    metrics = site.host.resources.count
    assert isinstance(metrics, Metrics)
    now = int(time.time() // 60)
    chance = random.Random(7)
    for place, name in enumerate(NAMES[:8]):
        figures = metrics.figures(name)
        metrics.run(name, 0.05, failed=False)
        figures = metrics.figures(name)
        figures.minutes[:0] = [
            MinuteFigures(now - age, count, count, int(chance.random() < 0.04), count * 0.08, chance.uniform(0.1, 1.4))
            for age in range(59, 0, -1)
            if (count := max(0, round(chance.gauss(3 + 9 * (place % 3), 4))))
        ]
        figures.recent = [chance.lognormvariate(-3, 0.8) for _ in range(50)]


def test_with_no_bot_the_first_page_says_what_to_do(driver: webdriver.Chrome, tmp_path: Path) -> None:
    site = Site(tmp_path, HEAD).start()
    driver.delete_all_cookies()
    browser = Browser(driver, site)
    try:
        for width in (360, 800, 1440):
            browser.look(width=width)
            if width == 360:
                browser.log_in()
            browser.open("/")
            assert "bothost new NAME" in browser.find("main").text
            assert browser.driver.execute_script("return document.documentElement.scrollWidth") <= width
    finally:
        driver.get("about:blank")
        site.stop()
