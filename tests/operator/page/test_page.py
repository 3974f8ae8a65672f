"""What the page shows and what its buttons do, over a real host and journal."""

from __future__ import annotations

import ast
import contextlib
import html
import http.client
import json
import re
import sqlite3
import time
from importlib.resources import files
from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest
from tests.operator.page.site import BODY, TOKEN, Site, wait_for

from bothost.background import STEADY_S
from bothost.config import HOST_KEYS
from bothost.journal.sqlite.connection import path_of
from bothost.language.russian_texts import TEXTS
from bothost.operator.page import formatting
from bothost.telemetry.metrics.families import STATES

if TYPE_CHECKING:
    pass

RUSSIAN = {"Accept_Language": "ru-RU,ru;q=0.9,en;q=0.8"}
FAILED = "/deliveries/" + quote("autoreply:7:comment:7", safe="")


def test_bots_in_trouble_come_first_with_their_reasons(page: Site) -> None:
    text = page.get("/").text
    assert text.index(">lost<") < text.index(">wrong<") < text.index(">autoreply<")
    assert "which is not installed" in text
    assert "is shorter than 16 characters" in text
    assert "2 problems" in text


def test_bots_are_found_by_words_and_states(page: Site) -> None:
    assert re.findall(r'<th scope="row"><a href="/bots/([a-z]+)"', page.get("/?state=trouble").text) == [
        "lost",
        "wrong",
    ]
    assert re.findall(r'<th scope="row"><a href="/bots/([a-z]+)"', page.get("/?q=NOWHERE+lost").text) == ["lost"]
    assert "No bot matches" in page.get("/?q=nobody").text


def test_one_bot_shows_its_section_and_its_deliveries(page: Site) -> None:
    text = page.get("/bots/autoreply").text
    assert re.search(r"<dt>secret</dt><dd>&lt;[0-9a-f]{8}&gt;</dd>", text)
    assert "<dt>answer_within</dt><dd>50 s</dd>" in text
    assert ">#5</a>" in text
    assert "Send a test delivery" in text


def test_a_broken_bot_says_which_lines_are_wrong(page: Site) -> None:
    text = page.get("/bots/wrong").text
    assert re.search(
        r"<b>line 20</b>\s*<code>timeout</code>\s*&#x27;5&#x27; is not a duration|<code>timeout</code> &#39;5&#39; is not a duration",
        text,
    )


def test_all_that_is_wrong_with_a_plugins_settings_is_told(tmp_path_factory: pytest.TempPathFactory) -> None:
    ini = f"[host]\noperator_token = {TOKEN}\ndrain = 1s\n[bot:rulez]\nplugin = approvals\nsecret = {'x' * 20}\nruls = x\nlimit = 5\n"
    site = Site(tmp_path_factory.mktemp("settings"), ini).start()
    try:
        text = site.get("/bots/rulez").text
        (row,) = json.loads(site.get("/bots.json").text)
        for part in (
            "[bot:rulez] ruls: no such key",
            "[bot:rulez] limit: no such key",
            "[bot:rulez] rules: is missing",
        ):
            assert part in text
            assert part in row["reason"]
    finally:
        site.stop()


def test_behind_a_prefix_every_address_begins_with_it(tmp_path_factory: pytest.TempPathFactory) -> None:
    ini = f"[host]\noperator_token = {TOKEN}\npublic_path = /ops\ndrain = 1s\n"
    site = Site(tmp_path_factory.mktemp("prefix"), ini).start()
    try:
        for path in ("/", "/deliveries", "/deliveries/autoreply:9", "/configuration", "/about"):
            text = site.get(path).text
            addresses = re.findall(r'(?:href|src|action)="(/[^"]*)"', text)
            assert addresses, path
            assert [one for one in addresses if not one.startswith("/ops/")] == [], path
    finally:
        site.stop()


def test_settings_of_a_plugin_that_is_not_loaded_have_names_and_no_values(page: Site) -> None:
    assert "<dt>api_key</dt><dd>…</dd>" in page.get("/bots/lost").text


def test_a_failed_delivery_says_why(page: Site) -> None:
    text = page.get(FAILED).text
    assert "autoreply raised ZeroDivisionError: division by zero (rules.py:5)" in text
    assert "Traceback (most recent call last):" in text
    assert "Run again" in text
    assert "182 s" in text


def test_an_answered_delivery_shows_request_and_reply(page: Site) -> None:
    text = page.get("/deliveries/" + quote("autoreply:5:comment:7", safe="")).text
    plain = re.sub(r"<[^>]+>", "", text)
    assert "&quot;text&quot;: &quot;Hello&quot;" in plain
    assert "&quot;task_id&quot;: 5" in plain
    assert "Send again as new" in text


def test_a_link_leads_to_its_event_whatever_kind_it_has(own_page: Site) -> None:
    own_page.keep(id="autoreply:5:a/b?c#d%2F:7", kind="a/b?c#d%2F")
    link = re.search(r'href="(/deliveries/autoreply[^"]+)"', own_page.get("/deliveries").text)
    assert link is not None
    answer = own_page.get(html.unescape(link[1]))
    assert answer.status == 200
    assert "&quot;task_id&quot;: 5" in re.sub(r"<[^>]+>", "", answer.text)


def test_the_body_can_be_taken_away_as_a_file(page: Site) -> None:
    answer = page.get(FAILED + "/body.json")
    assert answer.headers["Content-Disposition"] == 'attachment; filename="autoreply-7-comment-7.json"'
    assert json.loads(answer.text) == json.loads(BODY) | {"access_token": "•••"}


def test_deliveries_are_found_by_bot_state_task_and_time(own_page: Site) -> None:
    for number in range(1, 6):
        own_page.failed(number) if number % 2 else own_page.keep(
            id=f"autoreply:{number}:comment:1", task=number, turn=None
        )
    own_page.keep(id="autoreply:9:comment:9", task=9, turn="9", created=time.time() - 5000, kind="missed")

    def found(query: str) -> list[str]:
        return re.findall(r">#(\d+)</a>", own_page.get(f"/deliveries{query}").text)

    assert sorted(found("")) == ["1", "2", "3", "4", "5", "9"]
    assert sorted(found("?state=failed")) == ["1", "3", "5"]
    assert found("?task=%234") == ["4"]
    assert found("?bot=lost") == []
    assert "9" not in found("?since=1h")
    assert "missed" in own_page.get("/deliveries?task=9").text
    assert "missed" not in own_page.get("/deliveries?task=4").text
    assert "found by catching up" in own_page.get("/deliveries/autoreply:9:comment:9").text
    assert "Nothing matches" in own_page.get("/deliveries?bot=lost").text


def test_older_deliveries_follow_on_further_pages(own_page: Site) -> None:
    now = time.time()
    for number in range(1, 121):
        own_page.keep(id=f"autoreply:{number}:comment:1", task=number, turn=None, created=now - number, body=b"")
    seen: list[str] = []
    path = "/deliveries"
    while path:
        text = own_page.get(path).text
        seen += re.findall(r">#(\d+)</a>", text)
        older = re.search(r'href="([^"]+)">Older<', text)
        path = older[1].replace("&amp;", "&") if older else ""
    assert seen == [str(number) for number in range(1, 121)]


@pytest.mark.parametrize(
    "query",
    [
        "before=x",
        "before=nan,a",
        "before=1e999,a",
        "task=abc",
        "task=" + "9" * 30,
        "state=odd",
        "since=odd",
        "bot=%00",
        "from=-1",
        "done=%3Cb%3E",
    ],
)
def test_odd_questions_get_a_page_all_the_same(page: Site, query: str) -> None:
    assert page.get(f"/deliveries?{query}").status == 200
    assert page.get(f"/?{query}").status == 200
    assert page.get("/?q=%ff").status == 400


def test_a_bot_without_a_usable_secret_says_that_deliveries_came(own_page: Site) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", own_page.public_port, timeout=20)
    connection.request("POST", "/wrong", BODY.encode())
    assert connection.getresponse().status == 503
    connection.close()
    text = own_page.get("/bots/wrong").text
    assert "Deliveries came, and none could be verified or taken: 1." in text
    assert "None yet" not in text


def test_pause_and_resume_reach_the_bot(own_page: Site) -> None:
    cookie = own_page.log_in()
    answer = own_page.put(cookie, "/bots/autoreply/pause", {"reason": "new key\x1b[31m"})
    assert (answer.status, answer.location) == (303, "/bots/autoreply?done=paused")
    assert "paused" in own_page.get("/bots/autoreply").text
    wait_for(lambda: own_page.host.service.find("autoreply").state.word == "paused")  # type: ignore[union-attr]
    assert "new key\\x1b[31m" in own_page.get("/bots/autoreply").text
    own_page.put(cookie, "/bots/autoreply/resume")
    wait_for(lambda: own_page.host.service.find("autoreply").state.word == "active")  # type: ignore[union-attr]
    before = own_page.host.service.find("autoreply")
    answer = own_page.put(cookie, "/bots/autoreply/restart")
    assert (answer.status, answer.location) == (303, "/bots/autoreply?done=restarted")
    assert own_page.host.service.find("autoreply") is not before
    refused = own_page.put(cookie, "/bots/wrong/restart")
    assert refused.status == 409
    assert "not restarted: it is config error" in refused.text


def test_a_quarantined_bot_is_resumed_by_its_button(own_page: Site) -> None:
    bot = own_page.host.service.find("autoreply")
    assert bot is not None
    own_page.host.lifecycle.quarantine(bot, "its process died 3 times within an hour")
    own_page.do(
        own_page.host.resources.journal.control("quarantine:autoreply", "its process died 3 times within an hour")
    )
    text = own_page.get("/bots/autoreply").text
    assert "/bots/autoreply/resume" in text
    assert "Pause…" not in text
    wait_for(lambda: "quarantine:autoreply" in own_page.host.controls.facts)
    own_page.put(own_page.log_in(), "/bots/autoreply/resume")
    assert "quarantine:autoreply" not in own_page.do(own_page.host.resources.journal.controls())
    assert "quarantined" not in own_page.get("/bots/autoreply").text
    wait_for(lambda: bot.state.word == "active")


def test_a_bot_that_serves_badly_comes_before_those_that_serve_well(tmp_path_factory: pytest.TempPathFactory) -> None:
    sections = "".join(
        f"[bot:{name}]\nplugin = autoreply\nsecret = key-of-the-bot-{name}-0123456789\n" for name in "abcde"
    )
    head = f"[host]\noperator_token = {TOKEN}\ndrain = 1s\n[bot:lost]\nplugin = nowhere\nsecret = {'x' * 20}\n"
    site = Site(tmp_path_factory.mktemp("bad"), head + sections).start()
    try:
        metrics = site.host.resources.count
        metrics.run("e", 0.1, failed=True)
        metrics.delivery("d", "refused-signature", 403, 0.0)
        metrics.blocked("c", 2.0)
        rows = json.loads(site.get("/bots.json").text)
        assert [row["bot"] for row in rows] == ["lost", "e", "c", "d", "a", "b"]
        assert [row["blocked_s"] for row in rows] == [0, 0, 2.0, 0, 0, 0]
        assert [row["wrong_signatures"] for row in rows] == [0, 0, 0, 1, 0, 0]
        assert [row["failed_runs_last_hour"] for row in rows] == [0, 1, 0, 0, 0, 0]
        assert rows[0]["reason"].startswith("asks for the plugin 'nowhere'")
        text = site.get("/").text
        assert "blocked the event loop: 2.0 s" in text
        assert "wrong signatures: 1" in text
        assert "for 2.0 s since the host started" in site.get("/bots/c").text
        assert "with a wrong signature since the host started: 1." in site.get("/bots/d").text
    finally:
        site.stop()


def test_a_restart_forgets_no_figure_that_the_journal_knows(own_page: Site) -> None:
    came = time.time() - 900
    for number, ms in ((1, 20.0), (2, 40.0), (3, 60.0)):
        at = came + 60 * number
        own_page.keep(
            id=f"autoreply:{number}:comment:1", task=number, turn="", ms=ms, created=at, seen_at=at, updated=at
        )
    own_page.failed(4, created=came, seen_at=came, updated=came)
    older = "[bot:autoreply] autoreply raised KeyError: '<b>'"
    own_page.failed(5, error=older, created=came - 60, seen_at=came - 60, updated=came - 60)
    own_page.stop()
    own_page.start()
    (row,) = [one for one in json.loads(own_page.get("/bots.json").text) if one["bot"] == "autoreply"]
    assert (row["deliveries_last_hour"], row["failed_runs_last_hour"]) == (5, 2)
    assert row["last_error"] == "autoreply raised ZeroDivisionError: division by zero (rules.py:5)"
    row = own_page.get("/").text.partition('href="/bots/autoreply"')[2].partition("</tr>")[0]
    for part in ("12 min ago", "20 ms / 60 ms", "5 deliveries", "last failure: autoreply raised ZeroDivisionError"):
        assert part in row, part
    assert "12 min ago" in own_page.get("/bots/autoreply").text


def test_deliveries_are_found_by_every_word_that_they_are_shown_with(own_page: Site) -> None:
    due = time.time() + 500
    states = {
        "held": {"state": "ready", "answer": None, "delivered": False, "due": due, "fence": 1},
        "parked": {"state": "ready", "door": "api", "answer": None, "delivered": False, "due": due},
        "posting": {"state": "ready", "door": "api", "delivered": False, "due": due},
        "undelivered": {"delivered": False, "due": due},
        "answered": {},
        "failed": {"state": "failed", "failed": True, "error": "boom"},
        "cancelled": {"state": "cancelled"},
    }
    for number, changes in enumerate(states.values(), start=1):
        own_page.keep(id=f"lost:{number}:comment:1", bot="lost", task=number, turn=None, **changes)
    offered = re.findall(r'<option value="([a-z]+)"', own_page.get("/deliveries").text.partition('name="state"')[2])
    for number, word in enumerate(states, start=1):
        assert word in offered
        text = own_page.get(f"/deliveries?state={word}").text
        assert re.findall(r">#(\d+)</a>", text) == [str(number)], word
    assert sorted(re.findall(r">#(\d+)</a>", own_page.get("/deliveries?state=open").text)) == ["1", "2", "3"]


def test_the_configuration_shows_keys_of_bots_ini_and_no_others(page: Site) -> None:
    rows = re.findall(r"<div><dt>([^<]+)</dt>", page.get("/configuration").text)
    assert set(rows) <= {"bots.ini", *HOST_KEYS}


def test_the_live_page_leads_to_what_was_refused(own_page: Site) -> None:
    own_page.keep()
    assert "Refused lately" not in own_page.get("/live").text
    assert "Nothing was refused" in own_page.get("/refused").text
    connection = http.client.HTTPConnection("127.0.0.1", own_page.public_port, timeout=20)
    connection.request("POST", "/autoreply", b"{}")
    assert connection.getresponse().status == 403
    connection.close()
    text = own_page.get("/live").text
    assert text.index("Refused lately") < text.index("table")
    refused = own_page.get("/refused").text
    assert '<span class="state bad">403</span>' in refused
    assert "the signature is missing or wrong" in refused


def test_one_task_can_be_resumed(own_page: Site) -> None:
    own_page.do(own_page.host.resources.journal.control("pause:autoreply:5", "more than 30 replies in 10 minutes"))
    cookie = own_page.log_in()
    assert "Paused for task 5:" in own_page.get("/bots/autoreply").text
    own_page.put(cookie, "/bots/autoreply/resume", {"task": "5"})
    assert "pause:autoreply:5" not in own_page.do(own_page.host.resources.journal.controls())


def test_a_failed_delivery_is_retried_by_a_button(own_page: Site) -> None:
    body = '{"task_id":7,"task":{"id":7,"author":{"email":"a@b"},"comments":[{"id":7}]}}'
    own_page.failed(body=body.encode(), door="api")
    answer = own_page.put(own_page.log_in(), FAILED + "/retry")
    assert (answer.status, answer.location.partition("?")[2]) == (303, "done=retried")
    wait_for(lambda: own_page.do(own_page.host.resources.journal.find("autoreply:7:comment:7")).state != "failed")


def test_what_the_journal_refuses_is_said(own_page: Site) -> None:
    own_page.keep()
    answer = own_page.put(own_page.log_in(), "/deliveries/autoreply%3A5%3Acomment%3A7/retry")
    assert answer.status == 409
    assert "The journal refused that" in answer.text


def test_an_answered_delivery_is_sent_again_as_a_new_entry(own_page: Site) -> None:
    body = '{"task_id":5,"task":{"id":5,"author":{"email":"a@b"},"comments":[{"id":7}]}}'
    own_page.keep(body=body.encode())
    answer = own_page.put(own_page.log_in(), "/deliveries/autoreply%3A5%3Acomment%3A7/again")
    assert answer.status == 303
    assert "~2" in answer.location


def test_a_test_delivery_goes_the_whole_way(own_page: Site) -> None:
    cookie = own_page.log_in()
    sample = re.search(r"<textarea[^>]*>(.*?)</textarea>", own_page.get("/bots/autoreply/test").text, re.DOTALL)
    assert sample is not None
    body = json.loads(sample[1].replace("&quot;", '"'))
    body["task"]["author"]["email"] = "somebody@example.com"
    answer = own_page.put(cookie, "/bots/autoreply/test", {"body": json.dumps(body)})
    assert "Hello, somebody@example.com" in answer.text
    listed = own_page.get("/deliveries?bot=autoreply").text
    assert listed.count("<tr data-id=") == 1
    own_page.put(cookie, "/bots/autoreply/test", {"body": json.dumps(body)})
    wait_for(lambda: own_page.get("/deliveries?bot=autoreply").text.count("<tr data-id=") == 2)
    assert own_page.put(cookie, "/bots/autoreply/test", {"body": "{"}).status == 422
    assert own_page.put(cookie, "/bots/wrong/test", {"body": "{}"}).status == 422


def test_live_rows_show_what_comes_and_what_is_refused(own_page: Site) -> None:
    assert "Quiet" in own_page.get("/live").text
    own_page.keep()
    assert '<tr data-id="autoreply:5:comment:7">' in own_page.get("/live/rows").text
    own_page.public_port, port = own_page.port, own_page.public_port
    own_page.port = port
    own_page.ask("POST", "/autoreply", "{}", X_Pyrus_Sig="00")
    own_page.port = own_page.public_port
    text = own_page.get("/live/rows").text
    assert '<a href="/refused">Refused lately: 1</a>' in text.replace("</a>: 1", ": 1</a>")


def test_the_configuration_shows_problems_with_lines_and_no_secret(page: Site) -> None:
    text = page.get("/configuration").text
    assert "<b>line 19</b>" in text
    assert re.search(r"<dt>operator_token</dt><dd>&lt;[0-9a-f]{8}&gt;</dd>", text)
    assert TOKEN not in text


def test_plugins_name_their_packages_and_users(page: Site) -> None:
    text = page.get("/plugins").text
    assert "bothost-autoreply" in text
    assert "The plugin nowhere is not installed" in text


def test_about_names_versions_and_processes(page: Site) -> None:
    text = page.get("/about").text
    assert "Tornado" in text
    assert "ready" in text


def test_readyz_gives_reasons(page: Site) -> None:
    answer = page.ask("GET", "/readyz")
    assert json.loads(answer.text) == {
        "ready": True,
        "phase": "serving",
        "journal": "ok",
        "loops_down": [],
        "listener": "ok",
        "bots": {"active": 1, "config error": 1, "plugin error": 1},
        "not_serving": {"lost": "plugin error", "wrong": "config error"},
    }


@pytest.mark.parametrize("loop", ["poller", "timers", "heartbeat"])
def test_readyz_is_503_while_a_loop_is_down(own_page: Site, loop: str) -> None:
    loops = own_page.host.resources.loops
    loops.failed(loop, RuntimeError("odd"))
    answer = own_page.ask("GET", "/readyz")
    assert (answer.status, json.loads(answer.text)["loops_down"]) == (503, [loop])
    assert (
        f'bothost_loop_restarts_total{{loop="{loop}"}} 1.0'
        in own_page.ask("GET", "/metrics", Authorization=f"Bearer {TOKEN}").text
    )
    loops.resumed(loop)
    loops._faults[loop].resumed_at -= STEADY_S
    assert own_page.ask("GET", "/readyz").status == 200


def test_readyz_is_503_while_the_host_drains(own_page: Site) -> None:
    own_page.host.phase = "draining"
    answer = own_page.ask("GET", "/readyz")
    assert (answer.status, json.loads(answer.text)["phase"]) == (503, "draining")
    own_page.host.phase = "serving"


def test_pages_still_come_while_the_journal_cannot_be_opened(tmp_path_factory: pytest.TempPathFactory) -> None:
    site = Site(tmp_path_factory.mktemp("away"))
    path_of(site.folder / "state").mkdir(parents=True)
    site.start(waits=False)
    try:
        answer = site.ask("GET", "/readyz")
        assert (answer.status, json.loads(answer.text)["journal"]) == (503, "not open yet")
        assert site.ask("GET", "/healthz").status == 200
        assert "The journal is away" in site.get("/deliveries").text
        for path in ("/", "/bots/autoreply", "/live", "/configuration", "/about", "/metrics"):
            assert site.get(path).status == 200, path
        assert site.put(site.log_in(), "/bots/autoreply/pause").status == 503
    finally:
        site.stop()
    assert is_cut_from_pyrus(site)


def test_a_host_that_has_stopped_keeps_no_connection_to_pyrus(tmp_path_factory: pytest.TempPathFactory) -> None:
    site = Site(tmp_path_factory.mktemp("stopped")).start()
    assert not is_cut_from_pyrus(site)
    site.stop()
    assert is_cut_from_pyrus(site)


def is_cut_from_pyrus(site: Site) -> bool:
    return bool(site.host.resources.client.transport._session.closed)  # type: ignore[attr-defined]


def test_metrics_count_what_happened(own_page: Site) -> None:
    own_page.put(own_page.log_in(), "/bots/autoreply/test", {"body": json.dumps({"task_id": 1, "task": {"id": 1}})})
    text = own_page.get("/metrics").text
    assert re.search(r'bothost_deliveries_total\{bot="autoreply",outcome="[a-z]+"\} 1\.0', text)
    assert 'bothost_bot_state{bot="lost",state="plugin error"} 1.0' in text
    assert 'bothost_handler_seconds_count{bot="autoreply"} 1.0' in text


def test_with_no_bot_the_page_says_what_to_do(tmp_path_factory: pytest.TempPathFactory) -> None:
    site = Site(tmp_path_factory.mktemp("none"), f"[host]\noperator_token = {TOKEN}\ndrain = 1s\n").start()
    try:
        assert "No bot yet" in site.get("/").text
        assert "[bot:autoreply]" in site.get("/").text
        assert "No delivery yet" in site.get("/deliveries").text
        assert "Ботов пока нет" in site.get("/", **RUSSIAN).text
    finally:
        site.stop()


def test_the_browser_chooses_the_language(page: Site) -> None:
    answer = page.get("/", **RUSSIAN)
    assert '<html lang="ru">' in answer.text
    assert "Ботов работает" in answer.text
    assert answer.headers["Vary"] == "Accept-Language"
    assert '<html lang="en">' in page.get("/").text


def test_every_text_of_the_page_has_a_russian_one() -> None:
    used: set[str] = set()
    page = files("bothost.operator.page")
    for template in (page / "templates").iterdir():
        text = template.read_text("utf-8")
        used |= set(re.findall(r'\bt\("([^"]*[^" ])"', text))
        for table in re.findall(r"{% (?:set told = |set reasons = |for path, name in )(.*) %}", text):
            used |= {word for word in re.findall(r'"([^"]+)"', table) if not word.startswith("/") and word[0].isupper()}
    for module in page.iterdir():
        if module.name.endswith(".py"):
            for node in ast.walk(ast.parse(module.read_text("utf-8"))):
                called = isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "text" and node.args
                if called and isinstance(node.args[0], ast.Constant) and isinstance(node.args[0].value, str):
                    used.add(node.args[0].value)
    used |= set(STATES) | set(formatting.STATE_TONES)
    assert sorted(used - set(TEXTS)) == []
    assert len(used) > 150


@pytest.mark.full
@pytest.mark.alone
def test_a_hundred_thousand_deliveries_are_listed_quickly(own_page: Site) -> None:
    own_page.keep()
    file = next(own_page.folder.rglob("*.db"))
    with contextlib.closing(sqlite3.connect(file, timeout=20)) as journal, journal:
        columns = [row[1] for row in journal.execute("pragma table_info(delivery)")]
        copied = ", ".join(
            {"id": "id || ':' || n", "created": "created - n", "task": "n"}.get(name, name) for name in columns
        )
        journal.execute(
            f"with recursive c(n) as (select 1 union all select n + 1 from c where n < 100000) "
            f"insert into delivery ({', '.join(columns)}) select {copied} from delivery, c"
        )
    journal.close()
    for query in ("", "?bot=autoreply", "?state=failed", "?task=777", "?bot=autoreply&state=failed&since=7d"):
        began = time.monotonic()
        assert own_page.get(f"/deliveries{query}").status == 200
        assert time.monotonic() - began < 0.5
