"""`bothost dev` as an author uses it: a package, a browser's requests, and files that are saved under it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest
from tests.cli.dev.dev_loop import DevLoop
from tests.language.leaks import english_left

import bothost.cli.dev
from bothost.cli.dev.page import CHOICES, DONE, LABELS, field_value, parse_fields
from bothost.cli.dev.source import DevSource
from bothost.cli.dev.world import API_STATES
from bothost.language.russian_texts import TEXTS
from bothost.testing import field


@pytest.fixture
def dev(tmp_path: Path) -> Iterator[DevLoop]:
    loop = DevLoop(tmp_path)
    yield loop
    if loop.process.poll() is None:
        loop.process.kill()
        loop.process.wait()


@pytest.mark.full
def test_an_author_writes_breaks_and_mends_a_bot(dev: DevLoop) -> None:
    _, task = dev.ask("/tasks", bot="kind", author=dev.author(), text="Please", form="5", fields="Amount = 12.50")
    dev.until(lambda: dev.comments(task) == ["Please", "Hello Anna"])
    shown = dev.ask(task)[1]
    assert "Amount" in shown
    assert "12.50" in shown
    traffic = dev.ask("/timeline")[1]
    assert "X-Pyrus-Sig: " in traffic
    assert "kind: attempt 1" in traffic

    dev.save("Salut")
    dev.comes_to_say(task, "Salut")

    (dev.folder / "kind_bot.py").write_text("def kind(event:\n")
    dev.until(lambda: "SyntaxError" in dev.ask("/timeline")[1])
    assert dev.answer_to(task, "still there?") == "Salut"

    dev.save("Ciao")
    dev.comes_to_say(task, "Ciao")
    dev.ask("/network", api="loses answers", lost="yes", back=task)
    said = dev.comments(task).count("Ciao")
    dev.ask(f"{task}/comments", author=dev.author(), text="slow")
    dev.until(lambda: "kind: attempt 2" in dev.ask("/timeline")[1])
    dev.ask("/network", api="works", back="/")
    dev.until(lambda: dev.comments(task).count("Ciao") == said + 1, 60)
    russian = {"Accept-Language": "ru-RU,ru;q=0.9,en;q=0.8"}
    for place in ("/", task, "/timeline", f"/timeline?task={task.rpartition('/')[2]}", "/tasks/1", "/nothing"):
        assert left_in(dev.ask(place, headers=russian)[1]) == set(), place
    assert {"attempt", "step", "received"} <= left_in(dev.ask(task)[1]) | left_in(dev.ask("/timeline")[1])
    assert dev.stop() == 0


def left_in(page: str) -> set[str]:
    """The English words that a person sees on a page, without bytes, code, logs and what was typed in."""
    page = re.sub(
        r"(?s)<(pre|textarea|script|title)\b.*?</\1>|<li class=\"log.*?</li>|<b>.*?</b>|<dl>.*?</dl>", " ", page
    )
    said = re.findall(r'(?:placeholder|aria-label)="([^"]*)"', page)
    page = re.sub(r'<span class="title">(GET|POST)[^<]*|<p>[^<]*</p>(?=\s*</li>)', " ", page)
    return set(english_left(" ".join([*said, re.sub(r"<[^>]*>", " ", page)]))) - {"kind", "bothost", "dev"}


@pytest.mark.full
def test_another_site_can_neither_read_the_page_nor_post_to_it(dev: DevLoop) -> None:
    assert dev.ask("/", host="evil.example")[0] == 403
    wrong = {"Origin": "https://evil.example"}
    assert dev.ask("/network", headers=wrong, api="away")[0] == 403
    assert dev.ask("/network", api="away", back="https://evil.example/")[1] == "/"
    assert dev.ask("/tasks", bot="nobody", author="1")[0] == 400


def test_every_text_of_the_page_has_its_russian() -> None:
    used = {*CHOICES.values(), *DONE.values(), *(LABELS.get(state, state) for state in API_STATES)}
    folder = Path(bothost.cli.dev.__file__).parent
    for template in (folder / "templates").iterdir():
        text = template.read_text("utf-8")
        used |= set(re.findall(r'\bt\("([^"]+)"', text)) | set(re.findall(r'": "([^"]+)"', text))
        told = re.sub(r"(?s){%.*?%}|{{.*?}}|<textarea.*?</textarea>|<[^>]*>", " ", text)
        assert re.findall(r"[A-Za-z]{2,}", told) in ([], ["bothost", "dev", "API"], ["UTC"]), template
    used |= set(re.findall(r'reason="([^"]+)"', (folder / "page.py").read_text("utf-8")))
    assert sorted(used - set(TEXTS)) == []
    assert len(used) > 40


def test_a_field_is_what_its_text_most_naturally_means() -> None:
    fields = parse_fields("Amount = 12.50\nCount=3\nFrom = 2026-03-02\nUrgent = yes\nWhy = a = b\n\nno mark")
    assert {name: str(value) for name, value in fields.items()} == {
        "Amount": "12.50", "Count": "3", "From": "2026-03-02", "Urgent": "True", "Why": "a = b",
    }  # fmt: skip
    assert field_value("2026-13-45") == "2026-13-45"
    assert field_value('[{"Goods": "Tea", "Price": 2.50}]') == [{"Goods": "Tea", "Price": Decimal("2.50")}]
    assert field_value('{"Name": "Acme"}') == field({"Name": "Acme"}, type="catalog")
    assert field_value("[no table]") == "[no table]"
    assert field_value("[[1]]") == "[[1]]"


def test_a_saved_file_changes_the_digest_and_makes_its_bot_a_changed_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "watched_bot"
    package.mkdir()
    (package / "__init__.py").write_text("")
    info = tmp_path / "watched_bot-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: watched-bot\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[bothost.plugins]\nwatched = watched_bot:answer\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "bots.ini").write_text("[bot:watched]\nplugin = watched\nsecret = a-key-for-trials-only\n")
    source = DevSource(tmp_path / "bots.ini", "http://127.0.0.1:1/api/v4/")
    before = source.read()
    assert before.digest == source.digest(before)
    assert before.bots["watched"].run == "process"
    (package / "texts.json").write_text(json.dumps({"hello": "there"}))
    assert source.digest(before) != before.digest
    assert source.read().bots["watched"].differs(before.bots["watched"]) == ("settings_digest",)
    debugged = DevSource(tmp_path / "bots.ini", "http://127.0.0.1:1/api/v4/", debug=True).read().bots["watched"]
    assert (debugged.run, debugged.timeout_s) == ("auto", 86_400.0)
