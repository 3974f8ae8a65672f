"""What stops a bot besides itself: an operator, and the loop breaker for one task; both hold over restarts."""

from __future__ import annotations

import pytest
from tests.e2e.site import free_port

PLUGINS = """
import pathlib
HERE = pathlib.Path(__file__).parent
async def chatty(event):
    return f"{event.bot} answers {event.comment.text[:20]}"
async def greet(event):
    (HERE / f"ran-{event.task_id}").write_text(event.rerun or "first")
    return "hello"
"""


def test_two_bots_that_answer_each_other_are_stopped_in_that_task_only_and_an_operator_lets_them_go_on(site, playing):
    url = playing.url
    bots = "\n".join(f"{name}: plugin = chatty; api_url = {url}; login = bot@{name}" for name in ("anna", "boris"))
    host = site(PLUGINS, bots).start()
    hooks = [playing.hooks(host, name, playing.bot(name, 90 + number)) for number, name in enumerate(("anna", "boris"))]
    task, other = playing.task(), playing.task()
    playing.say(task, "who is there?")
    said = 0
    for turn in range(100):
        # each bot hears of the other's comment
        (reached,) = playing.deliver(hooks[turn % 2], task)
        assert reached.status == 200
        if not reached.comment_id:
            break
        said += 1
    # the first reply was to a person
    assert 30 <= said // 2 <= 31
    print(f"two bots in one task: stopped after {said} comments")
    line = host.said("paused for task")
    assert f"`bothost resume {line['bot']} --task {task}` goes on" in line["message"]
    # the task is quiet, another goes on, also after a restart
    before = len(playing.look(lambda: playing.pyrus.comments(task)))
    host.stop()
    host.start()
    hooks = [playing.hooks(host, name, playing.bot(name, 90 + number)) for number, name in enumerate(("anna", "boris"))]
    paused = hooks[0] if line["bot"] == "anna" else hooks[1]
    playing.say(other, "and here?")
    (reached,) = playing.deliver(paused, other)
    assert reached.comment_id
    playing.say(task, "hello?")
    (reached,) = playing.deliver(paused, task)
    assert (reached.status, reached.comment_id) == (200, 0)
    assert len(playing.look(lambda: playing.pyrus.comments(task))) == before
    # resumed, what was kept runs: the delivery that ended the talk, and this one
    host.command("resume", line["bot"], "--task", str(task))
    host.until(lambda: len(playing.look(lambda: playing.pyrus.comments(task))) == before + 2, 40.0)
    assert host.stop() == 0


def test_a_paused_bot_keeps_what_pyrus_would_lose_over_a_restart_until_it_is_resumed(site, playing):
    bots = f"one: plugin = greet; api_url = {playing.url}; login = bot@one\nother: plugin = greet"
    host = site(PLUGINS, bots, f"operator_port = {free_port()}").start()
    hooks = playing.hooks(host, "one", playing.bot("one", 99))
    host.command("pause", "one", "--reason", "new release at 15:00")
    assert host.said("paused: new release at 15:00")["bot"] == "one"
    assert host.deliver("one", task=1, comment=1).status == 503
    assert host.deliver("other", task=1, comment=1).text == "hello"
    since = {row["bot"]: row["since"] for row in host.command("bots")}
    host.command("pause", "one", "--reason", "new release at 16:00")
    assert host.stop() == 0
    host.start()
    assert host.said("paused: new release at 16:00")["bot"] == "one"
    # since when a bot is in its state outlives a restart, and a pause another reason
    assert {row["bot"]: row["since"] for row in host.command("bots")} == since
    task = playing.task()
    playing.say(task, "please")
    token = playing.look(lambda: playing.pyrus.world.issue_token(playing.pyrus.world.accounts[99]))
    hook = hooks.hook(playing.look(lambda: playing.pyrus.task(task)), "comment", token, 3)
    answer = host.post("one", hook.body, dict(hook.headers))
    assert (answer.status, answer.body) == (200, b"{}")
    (shown,) = [bot for bot in host.command("bots") if bot["bot"] == "one"]
    assert (shown["state"], shown["reason"]) == ("paused", "new release at 16:00")
    host.command("resume", "one")
    host.said("resumed")
    assert host.wrote(f"ran-{task}") == "maybe"
    host.until(lambda: playing.look(lambda: playing.pyrus.comments(task)), 20.0)
    assert playing.look(lambda: playing.pyrus.assert_one_comment(task)).text == "hello"
    assert host.deliver("one", task=1, comment=1, attempt="2/3").text == "hello"
    assert host.stop() == 0


BROKEN = """
import pathlib
HERE = pathlib.Path(__file__).parent
class Licensed(Plugin):
    def open(self):
        if not (HERE / "licence").exists():
            raise RuntimeError("no licence file")
    async def handle(self, event):
        return "licensed"
async def greet(event):
    return "hello"
"""


@pytest.mark.full
def test_a_plugin_that_does_not_open_is_tried_again_stays_visible_and_comes_into_service_by_itself(site):
    bots = "one: plugin = Licensed\nother: plugin = greet"
    host = site(BROKEN, bots, f"operator_port = {free_port()}").start()
    line = host.said("no licence file")
    assert (line["bot"], line["level"]) == ("one", "error")
    assert "handlers.py:" in line["message"]
    assert host.deliver("one", task=1, comment=1).status == 503
    assert host.deliver("other", task=1, comment=1).text == "hello"
    (shown,) = [bot for bot in host.command("bots", code=1) if bot["bot"] == "one"]
    assert shown["state"] == "plugin error"
    assert "no licence file" in shown["reason"]
    (host.folder / "licence").write_text("yes")
    assert "at try" in host.said("in service again", 30.0)["message"]
    assert host.deliver("one", task=1, comment=1, attempt="2/3").text == "licensed"
    assert host.stop() == 0
