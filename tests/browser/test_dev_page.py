"""The page of `bothost dev` in a real Chromium: an author plays several people, and watches what Pyrus and the bot say."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from selenium.common.exceptions import StaleElementReferenceException
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import Select, WebDriverWait
from tests.browser.conftest import Browser
from tests.cli.dev.dev_loop import DevLoop

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from selenium import webdriver

pytestmark = pytest.mark.full

PLUGIN = """\
import asyncio
from bothost import Reply

async def kind(event):
    if "slow" in event.comment.text:
        await asyncio.sleep(1.5)
    if event.task.is_closed:
        return None
    if event.waiting:
        return Reply.approve("{word} " + event.task.author.first_name, approvals_added={2: ["chief@example.com"]})
    return "{word} " + event.comment.text
"""


@pytest.fixture
def author(driver: webdriver.Chrome, tmp_path: Path) -> Iterator[Browser]:
    """A browser at the page of a running dev loop."""
    loop = DevLoop(tmp_path, PLUGIN)
    seen = Browser(driver, loop)
    seen.look()
    seen.console()
    seen.open("/")
    yield seen
    driver.get("about:blank")
    loop.stop()


def press(author: Browser, button: str) -> None:
    """Press a button or link, and wait for the page that it leads to."""
    author.driver.execute_script("window.isOld = true")
    author.press(button)
    is_new = "return !window.isOld && document.readyState === 'complete'"
    WebDriverWait(author.driver, 15).until(lambda driver: driver.execute_script(is_new))


def write(author: Browser, text: str, button: str, person: str = "Anna Gromova") -> None:
    """Write a comment as this person, and press this button."""
    Select(author.find("form.stacked select[name=author]")).select_by_visible_text(person)
    author.find("form.stacked textarea[name=text]").send_keys(text)
    press(author, button)


def read(author: Browser, selector: str, text: str = "") -> str:
    """Wait for an element that says this; return all that it says, before the page puts a newer one in its place."""

    def said(_: object) -> str | None:
        return next((said for said in (each.text for each in author.all(selector)) if said and text in said), None)

    found = WebDriverWait(author.driver, 30, ignored_exceptions=[StaleElementReferenceException]).until(said)
    assert found is not None
    return found


def test_an_author_creates_a_task_approves_and_sees_a_retry_and_a_late_reply(author: Browser) -> None:
    author.find("input[name=form]").send_keys("321")
    author.find("textarea[name=fields]").send_keys("Amount = 12.50\nUrgent = yes")
    press(author, "Create and deliver")
    assert read(author, ".comments .bot", "Hello Anna").startswith("kind\nhas approved")
    assert read(author, "dl") == "Amount\n12.50\nUrgent\nchecked"
    assert "200" in read(author, ".items li", "kind: attempt 1")

    assert read(author, ".steps .current") == "Step 2: Boris Chief has not decided"
    write(author, "I agree", "Approve", "Boris Chief")
    read(author, ".facts", "closed")
    assert "approved" in read(author, ".comments li", "I agree")

    write(author, "please be slow", "Send")
    assert "through the API" in read(author, ".comments .bot", "Hello please be slow")
    assert "200 after" in read(author, ".items li", "without a comment")
    assert "200" in read(author, ".items li", "POST tasks/")

    author.find("input[name=lost]").click()
    press(author, "Set")
    write(author, "is it lost?", "Send")
    opened = author.wait(".items .delivery", "the answer is lost").find_element(By.CSS_SELECTOR, "details")
    opened.find_element(By.CSS_SELECTOR, "summary").click()
    assert "X-Pyrus-Sig" in read(author, ".items pre", "X-Pyrus-Sig")
    assert "200" in read(author, ".items li", "kind: attempt 2")
    assert opened.get_attribute("open"), "what is opened stays open while the traffic goes on"
    read(author, ".comments .bot", "Hello is it lost?")
    assert read(author, ".comments", "Hello is it lost?").count("Hello is it lost?") == 1
    assert not author.console()


def test_nothing_scrolls_sideways_and_axe_finds_nothing_serious(author: Browser) -> None:
    author.find("textarea[name=fields]").send_keys(f"Supplier = {'endless' * 30}")
    press(author, "Create and deliver")
    read(author, ".comments .bot", "Hello")
    read(author, ".items li", "kind: attempt 1")
    author.find(".items summary").click()
    task = author.driver.current_url.rpartition("/")[2]
    for path in (f"/tasks/{task}", "/", "/nothing"):
        author.open(path)
        for scheme in ("light", "dark"):
            for width in (360, 800, 1440):
                author.look(scheme, width)
                assert author.driver.execute_script("return document.documentElement.scrollWidth") <= width
            assert author.serious() == []
    press(author, "All tasks")
    read(author, ".list a", "Please have a look")
