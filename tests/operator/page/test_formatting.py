"""Values as a person reads them."""

from __future__ import annotations

import time

import pytest

from bothost.journal.entry import Entry
from bothost.language import ENGLISH, RUSSIAN
from bothost.operator.outlook import Outlook, outlook_of
from bothost.operator.page import charts, formatting
from bothost.operator.page.host_names import AcceptedHostNames
from bothost.telemetry.metrics import MinuteFigures


@pytest.mark.parametrize(
    ("changes", "phase"),
    [
        ({"state": "ready", "fence": 1}, "held"),
        ({"state": "ready"}, "waiting"),
        ({"state": "ready", "door": "api"}, "parked"),
        ({"state": "ready", "door": "api", "answer": b"{}"}, "posting"),
        ({"state": "running", "door": "api", "answer": b"{}"}, "posting"),
        ({"state": "running"}, "running"),
        ({"state": "answered", "answer": b"{}", "delivered": True}, "answered"),
        ({"state": "answered", "answer": b"{}", "due": 5.0}, "undelivered"),
        ({"state": "answered", "answer": b"{}", "failed": True}, "failed"),
        ({"state": "failed"}, "failed"),
        ({"state": "cancelled"}, "cancelled"),
    ],
)
def test_an_entry_stands_in_the_words_of_the_state_table(changes: dict[str, object], phase: str) -> None:
    assert formatting.phase(Entry(id="a:1:comment:2", bot="a", **changes)) == phase  # type: ignore[arg-type]
    assert phase in formatting.STATE_TONES


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "–"),
        (0.0014, "1.4 ms"),
        (0.0595, "60 ms"),
        (0.9, "900 ms"),
        (1.25, "1.2 s"),
        (70.0, "70.0 s"),
        (133.0, "2 min 13 s"),
    ],
)
def test_spans_have_a_fitting_unit(seconds: float | None, text: str) -> None:
    assert formatting.span(seconds, ENGLISH) == text


@pytest.mark.parametrize(
    ("past", "english", "russian"),
    [(2, "just now", "только что"), (42, "42 s ago", "42 с назад"), (200, "3 min ago", "3 мин назад"), (8000, "2 h ago", "2 ч назад"), (200_000, "2 d ago", "2 д назад"), (-9, "just now", "только что")],
)  # fmt: skip
def test_times_are_told_from_now(past: float, english: str, russian: str) -> None:
    now = time.time()
    assert formatting.ago(now - past, now, ENGLISH) == english
    assert formatting.ago(now - past, now, RUSSIAN) == russian
    assert formatting.ago(0, now, ENGLISH) == "never"


@pytest.mark.parametrize(("count", "text"), [(12, "12 B"), (2048, "2.0 kB"), (5 << 20, "5.0 MB"), (3 << 30, "3.0 GB")])
def test_sizes_are_short(count: int, text: str) -> None:
    assert formatting.size(count) == text


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[" * 90_000, b"\xff\xfe", b"not json <b>", b'{"a": "' + b"x" * 500_000 + b'"}']
)
def test_any_body_can_be_shown(body: bytes) -> None:
    html, cut = formatting.json_html(body, lambda text: text)
    assert "<b>" not in html
    assert cut == (len(body) > formatting.MOST_JSON)


def test_a_body_is_laid_out_and_told_apart() -> None:
    html, _ = formatting.json_html('{"имя":"<Анна>","n":1.50,"ok":true,"none":null}'.encode(), lambda text: text)
    assert '<span class="j-key">&quot;имя&quot;</span>: <span class="j-str">&quot;&lt;Анна&gt;&quot;</span>' in html
    assert '<span class="j-num">1.50</span>' in html
    assert '<span class="j-word">true</span>' in html


def test_an_event_key_is_shown_without_its_bot() -> None:
    assert formatting.key_parts("refunds:5:comment:7~2") == ("5:comment:7", "~2")
    assert formatting.key_parts("odd") == ("odd", "")


def test_charts_hold_every_minute_of_the_last_hour_and_none_else() -> None:
    now = 1_000_000 * 60.0
    minutes = [MinuteFigures(1_000_000 - age, 5, 5, age % 2, 0.5, 0.3) for age in (90, 59, 1, 0)]
    chart = charts.counts(minutes, now, ENGLISH)
    assert chart.count('class="bar"') == 3
    assert "5 deliveries, failed: 1" in chart
    assert charts.durations(minutes, now, ENGLISH).count('class="bar-soft"') == 3
    assert charts.sparkline(minutes, now, "x").count("M") == 3 + 1
    assert "Nothing in the last hour." in charts.counts([], now, ENGLISH)


def test_attempts_are_drawn_within_the_picture_whatever_the_times() -> None:
    for created, updated, ms, seen_at in [(0.0, 1.0, 500.0, 0.0), (0.0, 9e9, 1e12, 9e9), (5.0, 0.0, 0.0, 0.0)]:
        entry = Entry(
            id="a:1:c:1",
            bot="a",
            state="failed",
            runs=1,
            seen=2,
            created=created,
            updated=updated,
            ms=ms,
            seen_at=seen_at,
        )
        chart = charts.attempts(entry, updated, ENGLISH)
        assert "nan" not in chart
        assert all(0 <= float(part.partition('"')[0]) <= 600 for part in chart.split(' x="')[1:])
    assert "circle" in charts.attempts(Entry(id="a:1:c:1", bot="a", state="running", runs=1), 5.0, ENGLISH)


def test_names_are_the_listeners_own() -> None:
    everywhere = AcceptedHostNames(["0.0.0.0"], ["ops:8443"])
    assert everywhere.has("10.1.2.3:8081", "10.1.2.3")
    assert everywhere.has("[::ffff:10.1.2.3]:8081", "10.1.2.3")
    assert not everywhere.has("10.1.2.4:8081", "10.1.2.3")
    assert everywhere.has("OPS:8443")
    assert not everywhere.has("ops")


def test_what_a_reply_waits_for_is_told_with_its_end_only_if_it_has_one() -> None:
    now = 1_000_000.0
    entry = Entry(
        id="one:5:comment:7", bot="one", task=5, state="ready", door="api", answer=b"{}", due=now + 60, tries=7
    )
    outlook = outlook_of(entry, None, now)
    assert outlook is not None
    assert outlook == Outlook("for the next try to post the reply, the tries so far: 7", now + 60)
    assert RUSSIAN.message(outlook.why) == "следующей попытки отправить ответ; попыток пока: 7"
    entry.post_begun = now - 3600
    outlook = outlook_of(entry, None, now)
    assert outlook is not None
    assert now + 20 * 3600 < outlook.expires < now + 86400
    entry.tries = 0
    assert outlook_of(entry, None, now) == Outlook("for its reply to be posted", now + 60)
