"""A login that bodies taught and Pyrus refuses: it is learnt anew, and no reply that was acknowledged is lost meanwhile."""

from __future__ import annotations

import json

from tests.e2e.site import SECRET

from bothost.pyrus.signature import sign

PLUGINS = """
import asyncio
async def late(event):
    await asyncio.sleep(2.5)
    return f"late {event.task_id}"
"""


def body(task: int, login: str) -> bytes:
    """A delivery whose token Pyrus refuses, and that shows the bot's login."""
    me = {"id": 99, "email": login, "type": "bot"}
    comments = [{"id": 2, "text": "hi", "author": {"id": 7, "type": "user"}}]
    shown = {"id": task, "author": {"id": 7, "email": "a@example.com"}, "responsible": me, "comments": comments}
    return json.dumps(
        {"event": "comment", "access_token": "a-stale-token", "task_id": task, "user_id": 99, "task": shown}
    ).encode()


def test_a_refused_learnt_login_is_dropped_over_a_restart_and_learnt_from_the_next_delivery(site, playing):
    keys = f"plugin = late; answer_within = 1s; api_url = {playing.url}"
    host = site(PLUGINS, f"one: {keys}\nset: {keys}; login = bot@wrong").start()
    playing.bot("right", 99)
    tasks = [playing.task() for _ in range(3)]

    def send(bot: str, task: int, login: str) -> None:
        sent = body(task, login)
        answer = host.post(bot, sent, {"X-Pyrus-Sig": sign(sent, SECRET), "X-Pyrus-Retry": "1/3"})
        assert (answer.status, answer.body) == (200, b"{}")

    def stands(bot: str) -> str:
        (row,) = host.command("deliveries", "list", "--bot", bot, "--task", str(tasks[0]))
        return str(row["state"])

    send("one", tasks[0], "bot@wrong")
    line = host.said("Pyrus refuses the learnt login bot@wrong")
    assert line["bot"] == "one"
    host.until(lambda: stands("one") == "posting")
    # a login of bots.ini is kept, and its reply fails at once, as nothing but an operator will change it
    send("set", tasks[0], "bot@wrong")
    host.until(lambda: stands("set") == "failed")
    checks = {row["check"]: row for row in host.command("doctor", code=1)["checks"]}
    assert checks["login of one"]["text"].startswith("Pyrus refuses the learnt bot@wrong")
    assert "bot@wrong" in checks["login of set"]["text"]
    assert {checks[f"login of {bot}"]["state"] for bot in ("one", "set")} == {"problem"}
    assert host.stop() == 0
    host.start()
    send("one", tasks[1], "bot@right")
    # without a retry it is posted a moment later, or has been
    host.command("deliveries", "retry", f"one:{tasks[0]}:comment:2", code=None)
    for task in tasks[:2]:
        host.until(lambda task=task: playing.look(lambda: playing.pyrus.comments(task)))
        assert playing.look(lambda task=task: playing.pyrus.assert_one_comment(task)).text == f"late {task}"
    assert not [line for line in host.lines() if "refuses the learnt login" in line["message"]]
    assert host.stop() == 0
