"""What the page shows of other hosts on the journal, and what it does with many deliveries at once."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING

import msgspec
from tests.operator.page.site import wait_for

from bothost.journal.history import steps_of
from bothost.operator.presence import PREFIX, ProcessPresence

if TYPE_CHECKING:
    from tests.operator.page.site import Answer, Site


def test_every_process_on_the_journal_is_listed_with_what_should_be_done_about_it(own_page: Site) -> None:
    journal = own_page.host.resources.journal
    now = journal.now()
    other = ProcessPresence(
        owner="north:17:ab", host="north", process="1", pid=17, version="0.9.9", started=now - 7200, at=now - 1,
        running=3, waiting=12, lag_s=0.25, plugins={"autoreply": "1.0"}, newer={"autoreply": "2.0"},
    )  # fmt: skip
    gone = msgspec.structs.replace(other, owner="south:18:cd", host="south", at=now - 120, newer={})
    long_gone = msgspec.structs.replace(other, owner="west:19:ef", host="west", at=now - 7200, newer={})
    for one in (other, gone, long_gone):
        own_page.do(journal.control(PREFIX + one.owner, msgspec.json.encode(one).decode()))
    wait_for(lambda: own_page.get("/about").text.count('<th scope="row">') == 4)
    text = own_page.get("/about").text
    rows = {name: row for row in text.split("<tr>") for name in ("north", "south") if f"{name}/1" in row}
    for part in ("alive", "bothost 0.9.9", "autoreply 1.0", ">3<", ">12<", "250 ms", "2 h ago"):
        assert part in rows["north"], part
    assert "autoreply 2.0 is installed: restart to run it" in rows["north"]
    assert "lease lost" in rows["south"]
    assert "silent for 2 min" in rows["south"]
    assert "restart to run" not in rows["south"]
    assert "west" not in text
    assert "Установлена autoreply 2.0" in own_page.get("/about", Accept_Language="ru").text


def test_runs_that_all_hosts_count_together_are_shown_with_those_of_this_one(own_page: Site) -> None:
    section = "[bot:autoreply]\nplugin = autoreply\n"
    ini = own_page.folder / "bots.ini"
    ini.write_text(ini.read_text().replace(section, f"{section}concurrency = 4\n"))
    own_page.loop.call_soon_threadsafe(own_page.host.reload)
    for number in (1, 2, 3):
        own_page.keep(id=f"autoreply:{number}:comment:1", task=number, turn=str(number), state="running", answer=None)
    wait_for(lambda: "3 of 4<small>, here 0</small>" in own_page.get("/bots/autoreply").text)
    assert "3 из 4<small>, здесь 0</small>" in own_page.get("/bots/autoreply", Accept_Language="ru").text


def failures(site: Site, count: int) -> list[str]:
    """Failed deliveries that can run again; their ids."""
    body = b'{"task_id":7,"task":{"id":7,"author":{"email":"a@b"},"comments":[{"id":7}]}}'
    site.do(site.host.resources.journal.control("login:autoreply", "bot@one"))
    return [site.failed(number, body=body, door="api").id for number in range(1, count + 1)]


def plan_of(answer: Answer) -> dict[str, list[str]]:
    """The fields with which the plan is confirmed."""
    form = answer.text.partition('name="confirmed"')[2].partition("</form>")[0]
    fields: dict[str, list[str]] = {"confirmed": ["yes"]}
    for name, value in re.findall(r'name="([a-z]+)" value="([^"]*)"', form):
        fields.setdefault(name, []).append(value)
    return fields


def states(site: Site, keys: list[str]) -> list[str]:
    found = [site.do(site.host.resources.journal.find(key)) for key in keys]
    return [one.state for one in found]


def were_retried(site: Site, keys: list[str]) -> list[bool]:
    """Whether each has been retried, whatever came of it."""
    found = [site.do(site.host.resources.journal.find(key)) for key in keys]
    return [any(step.what == "retried" for step in steps_of(one)) for one in found]


def test_ticked_deliveries_are_planned_and_then_retried_and_no_others(own_page: Site) -> None:
    keys = failures(own_page, 3)
    own_page.keep(id="autoreply:9:comment:9", task=9, turn="9")
    cookie = own_page.log_in()
    assert own_page.get("/deliveries").text.count('type="checkbox" name="key"') == 4
    plan = own_page.put(cookie, "/bulk", {"verb": "retry", "key": [*keys[:2], "autoreply:9:comment:9"]})
    assert "2 deliveries" in plan.text
    assert "Left out: 1 answered, so there is nothing to retry" in plan.text
    assert states(own_page, keys) == ["failed"] * 3
    done = own_page.put(cookie, "/bulk", plan_of(plan))
    assert done.status == 303
    wait_for(lambda: "2 / 2" in own_page.get(done.location.partition("?")[0]).text)
    assert were_retried(own_page, keys) == [True, True, False]
    assert own_page.get("/bulk/99").status == 404


def test_all_that_match_are_meant_whatever_is_ticked(own_page: Site) -> None:
    keys = failures(own_page, 3)
    own_page.failed(8, error="something else")
    cookie = own_page.log_in()
    plan = own_page.put(cookie, "/bulk", {"verb": "retry", "all": "yes", "q": "division by zero", "key": keys[:1]})
    assert "3 deliveries" in plan.text
    done = own_page.put(cookie, "/bulk", plan_of(plan))
    wait_for(lambda: "3 / 3" in own_page.get(done.location.partition("?")[0]).text)
    assert were_retried(own_page, [*keys, "autoreply:8:comment:8"]) == [True, True, True, False]


def test_what_waits_is_cancelled_in_bulk(own_page: Site) -> None:
    soon = time.time() + 3600
    keys = [
        own_page.keep(id=f"autoreply:{n}:comment:{n}", task=n, turn=str(n), state="ready", door="api", answer=None, due=soon).id
        for n in (1, 2)
    ]  # fmt: skip
    cookie = own_page.log_in()
    plan = own_page.put(cookie, "/bulk", {"verb": "cancel", "all": "yes"})
    assert "2 deliveries" in plan.text
    own_page.put(cookie, "/bulk", plan_of(plan))
    wait_for(lambda: states(own_page, keys) == ["cancelled", "cancelled"])


def test_a_plan_without_a_verb_or_a_right_does_nothing(own_page: Site) -> None:
    (key,) = failures(own_page, 1)
    assert own_page.put(own_page.log_in(), "/bulk", {"verb": "delete", "key": key}).status == 400
    reader = own_page.log_in("reading-token-0123456789")
    assert own_page.put(reader, "/bulk", {"verb": "retry", "key": key, "confirmed": "yes"}).status == 403
    assert states(own_page, [key]) == ["failed"]
