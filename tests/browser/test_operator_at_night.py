"""What an operator does at 3 a.m., in a real browser."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait
from tests.operator.page.site import TOKEN

if TYPE_CHECKING:
    from pathlib import Path

    from tests.browser.conftest import Browser

pytestmark = pytest.mark.full

PAGES = ("/", "/bots/refunds", "/bots/refunds/test", "/deliveries", "/live", "/plugins", "/configuration", "/about")


def test_a_failed_delivery_is_found_understood_mended_and_retried(browser: Browser, plugin: Path) -> None:
    (plugin / "broken").touch()
    assert browser.deliver(4711) == 200
    browser.log_in()
    browser.wait(".tile.bad", "Failed deliveries").find_element("css selector", "a").click()
    browser.wait("table.entries a", "#4711").click()
    assert "the rates of task 4711 cannot be read: is the share mounted?" in browser.find(".trouble .reason").text
    assert "flaky_rates/rates.py" in browser.find(".trace").text
    assert '"task_id": 4711' in browser.find("main").text
    (plugin / "broken").unlink()
    browser.press("Run again")
    browser.press("Run again", last=True)
    browser.wait(".flash", "runs again")
    for _ in range(50):
        browser.driver.refresh()
        if browser.find("h1 .state").text == "answered":
            break
    assert browser.find("h1 .state").text == "answered"


@pytest.mark.parametrize("name", ["127.0.0.1", "ops.example.com"])
def test_a_bot_is_paused_with_a_reason_and_resumed(browser: Browser, name: str) -> None:
    """Over plain HTTP a browser says only for addresses of its own machine which site a form came from."""
    browser.name = name
    browser.log_in()
    browser.open("/bots/refunds")
    browser.press("Pause…")
    browser.find("#reason").send_keys("waits for the new key")
    browser.press("Pause")
    browser.wait("h1 .state", "paused")
    browser.wait("main", "waits for the new key")
    browser.press("Resume")
    browser.wait(".flash", "Resumed")
    browser.open("/bots/refunds")
    browser.wait("h1 .state", "active")


def test_the_live_tail_grows_by_itself(browser: Browser) -> None:
    browser.log_in()
    browser.open("/live")
    browser.wait("h2", "Quiet")
    for number in range(1, 4):
        assert browser.deliver(number) == 200
        browser.wait("#live table.entries a", f"#{number}")
    assert len(browser.all("#live tbody tr")) == 3
    browser.press("Hold")
    browser.deliver(4)
    browser.press("Follow")
    browser.wait("#live table.entries a", "#4")


def test_without_a_script_everything_can_be_read_and_done(browser: Browser) -> None:
    browser.driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        browser.deliver(5)
        browser.log_in()
        for path in PAGES:
            browser.open(path)
            assert browser.find("main").text
        browser.open("/live")
        assert "#5" in browser.find("#live").text
        browser.open("/bots/refunds")
        browser.press("Pause…")
        browser.press("Pause")
        browser.wait("h1 .state", "paused")
    finally:
        browser.driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})


def test_the_keyboard_alone_is_enough(browser: Browser) -> None:
    browser.deliver(6)
    browser.open("/deliveries")

    def keys(*presses: str) -> None:
        for press in presses:
            browser.driver.switch_to.active_element.send_keys(press)

    keys(TOKEN, Keys.ENTER)
    browser.wait("h1", "Deliveries")
    browser.find("body").send_keys("/")
    assert browser.driver.switch_to.active_element.get_attribute("name") == "task"
    keys("6", Keys.ENTER)
    WebDriverWait(browser.driver, 15).until(lambda driver: "task=6" in driver.current_url)
    browser.wait("table.entries a", "#6")
    browser.driver.execute_script("document.activeElement.blur()")
    browser.find("body").send_keys(Keys.TAB)
    assert browser.driver.switch_to.active_element.text == "Skip to content"
    for _ in range(60):
        if browser.driver.switch_to.active_element.text == "#6":
            break
        keys(Keys.TAB)
    keys(Keys.ENTER)
    browser.wait("h1", "Task #6")
    outline = "return getComputedStyle(document.querySelector('main a')).outlineStyle"
    browser.find("main a").send_keys(Keys.SHIFT)
    assert browser.driver.execute_script(outline) in ("none", "solid", "auto")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1280])
def test_axe_finds_nothing_serious_in_light_and_dark(browser: Browser, plugin: Path, scheme: str, width: int) -> None:
    (plugin / "broken").touch()
    browser.deliver(7)
    (plugin / "broken").unlink()
    browser.deliver(8)
    browser.look(scheme, width)
    browser.open("/login")
    assert browser.serious() == []
    browser.log_in()
    browser.open("/deliveries?state=failed")
    failed = browser.find("table.entries tbody a").get_attribute("href") or ""
    for path in (*PAGES, failed[failed.index("/deliveries/") :], "/nothing", "/?q=nobody", "/deliveries?bot=none"):
        browser.open(path)
        assert browser.serious() == [], path


def test_the_console_is_quiet_and_nothing_comes_from_outside(browser: Browser) -> None:
    browser.deliver(9)
    browser.log_in()
    for path in PAGES:
        browser.open(path)
        browser.wait("main")
    assert browser.console() == []
    own = f"http://127.0.0.1:{browser.site.port}/"
    asked = [url for url in browser.fetched() if not url.startswith(("about:", "chrome:", "data:,"))]
    assert len(asked) > 20
    assert [url for url in asked if not url.startswith(own)] == []


def test_dark_is_dark_and_light_is_light(browser: Browser) -> None:
    browser.log_in()
    shades = []
    for scheme in ("light", "dark"):
        browser.look(scheme)
        colour = browser.driver.execute_script("return getComputedStyle(document.body).backgroundColor")
        shades.append(sum(int(part) for part in colour[4:-1].split(",")[:3]))
    assert shades[0] > 700
    assert shades[1] < 100


OVERLAPS = """
const text = cell => { const range = document.createRange(); range.selectNodeContents(cell); return range.getBoundingClientRect() };
const over = (a, b) => Math.min(a.right, b.right) - Math.max(a.left, b.left) > 1 && Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top) > 1;
return [...document.querySelectorAll("tbody tr")].flatMap(row => {
  const cells = [...row.cells].map(cell => [cell.innerText, text(cell)]).filter(([, box]) => box.width && box.height);
  return cells.flatMap(([told, box], place) => cells.slice(place + 1).filter(other => over(box, other[1])).map(other => `${told} | ${other[0]}`));
});
"""
"""The cells of a row whose texts lie on one another."""


@pytest.mark.parametrize("width", [360, 800, 1440])
def test_no_page_is_wider_than_its_window(browser: Browser, width: int) -> None:
    for task in (10**15 + 11, 48211):
        browser.deliver(task)
    browser.log_in()
    browser.look(width=width)
    delivery = f"/deliveries/refunds%3A{10**15 + 11}%3Acomment%3A{10**15 + 11}"
    for path in (*PAGES, delivery, "/deliveries/refunds%3A48211%3Acomment%3A48211"):
        browser.open(path)
        assert browser.driver.execute_script(OVERLAPS) == [], path
        for menu in browser.all("details.menu > summary"):  # an open menu must stay within the page too
            menu.click()
        assert browser.driver.execute_script("return document.documentElement.scrollWidth") <= width, path
