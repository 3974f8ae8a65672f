"""The page of `bothost dev` in a real Chromium: an author plays several people, and watches what Pyrus and the bot say."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import Select
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


def write(author: Browser, text: str, button: str, person: str = "Anna Gromova") -> None:
    """Write a comment as this person, and press this button."""
    Select(author.find("form.stacked select[name=author]")).select_by_visible_text(person)
    author.find("form.stacked textarea[name=text]").send_keys(text)
    author.press(button)


def traffic(author: Browser, text: str) -> str:
    """Wait for a row of the traffic that holds this text; return the row."""
    return author.wait(".items li", text).text


def test_an_author_creates_a_task_approves_and_sees_a_retry_and_a_late_reply(author: Browser) -> None:
    author.find("input[name=form]").send_keys("321")
    author.find("textarea[name=fields]").send_keys("Amount = 12.50\nUrgent = yes")
    author.press("Create and deliver")
    assert author.wait(".comments .bot", "Hello Anna").text.startswith("kind\napproved")
    assert author.find("dl").text == "Amount\n12.50\nUrgent\nchecked"
    assert "200" in traffic(author, "kind: attempt 1")

    assert author.wait(".steps .current").text == "Step 2: Boris Chief waiting"
    write(author, "I agree", "Approve", "Boris Chief")
    author.wait(".facts", "closed")
    assert "approved" in author.wait(".comments li", "I agree").text

    write(author, "please be slow", "Send")
    late = author.wait(".comments .bot", "Hello please be slow")
    assert "through the API" in late.text
    assert "without a comment" in traffic(author, "200 after 1.0 s")
    assert "200" in traffic(author, "POST tasks/")

    author.find("input[name=lost]").click()
    author.press("Set")
    write(author, "is it lost?", "Send")
    assert "the answer is lost" in traffic(author, "the answer is lost")
    opened = author.wait(".items details")
    opened.find_element(By.CSS_SELECTOR, "summary").click()
    assert "X-Pyrus-Sig" in author.wait(".items pre", "X-Pyrus-Sig").text
    assert "200" in traffic(author, "kind: attempt 2")
    assert opened.get_attribute("open"), "what is opened stays open while the traffic goes on"
    author.wait(".comments .bot", "Hello is it lost?")
    assert [each.text for each in author.all(".comments .bot p:nth-child(2)")].count("Hello is it lost?") == 1
    assert not author.console()


def test_nothing_scrolls_sideways_and_axe_finds_nothing_serious(author: Browser) -> None:
    author.find("textarea[name=fields]").send_keys(f"Supplier = {'endless' * 30}")
    author.press("Create and deliver")
    author.wait(".comments .bot", "Hello")
    traffic(author, "kind: attempt 1")
    author.find(".items summary").click()
    task = author.driver.current_url.rpartition("/")[2]
    for path in (f"/tasks/{task}", "/", "/nothing"):
        author.open(path)
        for scheme in ("light", "dark"):
            for width in (360, 800, 1440):
                author.look(scheme, width)
                assert author.driver.execute_script("return document.documentElement.scrollWidth") <= width
            assert author.serious() == []
    author.press("All tasks")
    author.wait(".list a", "Please have a look")
