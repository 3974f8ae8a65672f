"""A changed bots.ini: good sections swap, wrong ones keep their old version and say why, nothing in between fails."""

from __future__ import annotations

import http.client
import os
import re
import signal
import subprocess
import threading
import time
from pathlib import Path

import pytest
from tests.e2e.site import SECRET, delivery

from bothost.bots.reload import LOOK_S
from bothost.pyrus.signature import sign

PLUGINS = """
import asyncio, pathlib
HERE = pathlib.Path(__file__).parent
class Greeter(Plugin):
    class Settings(Settings):
        word: str = "hello"
    def open(self):
        with (HERE / "opened").open("a") as file: print(self.settings.word, file=file)
    def close(self):
        with (HERE / "closed").open("a") as file: print(self.settings.word, file=file)
    async def handle(self, event):
        if event.task_id == 77:
            (HERE / "began").write_text("yes")
            while not (HERE / "go").exists():
                await asyncio.sleep(0.01)
        return self.settings.word
"""


def rewrite(site, text: str) -> None:
    """As an editor does: a new file renamed over the old one."""
    new = site.folder / "bots.ini.new"
    new.write_text(text)
    new.chmod(0o600)
    new.rename(site.folder / "bots.ini")


def ini(site) -> str:
    return (site.folder / "bots.ini").read_text()


def reloads(site) -> int:
    return sum(line["message"].startswith("reloaded:") for line in site.lines())


def until_reloaded(site, times: int) -> None:
    for _ in range(2000):
        if reloads(site) >= times:
            return
        threading.Event().wait(0.01)
    raise AssertionError(site.log.read_text())


def test_a_changed_section_is_swapped_in_by_itself_and_the_old_instance_closed(site):
    host = site(PLUGINS, "one: plugin = Greeter; word = old\ntwo: plugin = Greeter; word = same").start()
    assert host.deliver("one", comment=1).text == "old"
    rewrite(host, ini(host).replace("word = old", "word = new"))
    until_reloaded(host, 1)
    assert host.deliver("one", comment=2).text == "new"
    assert host.deliver("two", comment=3).text == "same"
    assert sorted((host.folder / "opened").read_text().split()) == ["new", "old", "same"]
    for _ in range(500):
        if (host.folder / "closed").exists():
            break
        threading.Event().wait(0.01)
    assert (host.folder / "closed").read_text().split() == ["old"]
    assert host.stop() == 0


def test_what_runs_ends_on_the_old_instance_which_closes_after_it(site):
    host = site(PLUGINS, "one: plugin = Greeter; word = old").start()
    running = host.deliver_later("one", task=77, comment=1)
    host.wrote("began")
    rewrite(host, ini(host).replace("word = old", "word = new"))
    until_reloaded(host, 1)
    assert host.deliver("one", comment=2).text == "new"
    assert not (host.folder / "closed").exists()
    (host.folder / "go").write_text("yes")
    assert running.result().text == "old"
    assert host.wrote("closed").split() == ["old"]
    assert host.stop() == 0


def test_a_wrong_section_keeps_its_old_version_and_says_why(site):
    host = site(PLUGINS, "one: plugin = Greeter; word = old\ntwo: plugin = Greeter; word = old").start()
    broken = ini(host).replace("word = old", "wrod = new", 1).replace("word = old", "word = newer")
    rewrite(host, broken)
    until_reloaded(host, 1)
    assert host.deliver("one", comment=1).text == "old"
    assert host.deliver("two", comment=2).text == "newer"
    line = host.said("keeps its old version")
    assert line["bot"] == "one"
    assert "wrod" in line["message"]
    assert host.stop() == 0


def test_new_bots_come_and_removed_ones_go(site):
    host = site(PLUGINS, "one: plugin = Greeter; word = first\ntwo: plugin = Greeter; word = second").start()
    text = ini(host)
    rewrite(host, text.replace("[bot:two]", "[bot:three]"))
    until_reloaded(host, 1)
    assert host.deliver("two", comment=1).status == 404
    assert host.deliver("three", comment=1).text == "second"
    assert host.deliver("one", comment=1).text == "first"
    assert host.stop() == 0


def test_a_secret_is_changed_without_a_refused_delivery(site):
    host = site(PLUGINS, "one: plugin = Greeter").start()
    rewrite(
        host, ini(host).replace(f"secret = {SECRET}", f"secret = another secret of good length\nold_secret = {SECRET}")
    )
    until_reloaded(host, 1)
    assert host.deliver("one", comment=1).status == 200
    assert host.said("still signs with old_secret")["bot"] == "one"
    text = re.sub(r"old_secret = .*\n", "", ini(host))
    rewrite(host, text)
    until_reloaded(host, 2)
    assert "last used" in host.said("old_secret is no longer accepted")["message"]
    assert host.deliver("one", comment=2).status == 403
    assert host.stop() == 0


def test_a_secret_in_a_file_is_read_again(site):
    host = site(PLUGINS, "one: plugin = Greeter; secret = file:key")
    (host.folder / "key").write_text(SECRET + "\n")
    host.start()
    assert host.deliver("one", comment=1).status == 200
    (host.folder / "key").write_text("another secret of good length\n")
    until_reloaded(host, 1)
    assert host.deliver("one", comment=2).status == 403
    assert host.stop() == 0


KEYED = """
import os
class Keyed(Plugin):
    class Settings(Settings):
        key: Secret
    async def handle(self, event):
        if event.comment.text == "renew":
            os.environ.update(BOT_SECRET="another secret of good length", API_KEY="second")
        return self.settings.key.reveal()
"""


@pytest.mark.parametrize("run", ["auto", "process"])
def test_a_secret_among_a_plugins_settings_is_read_again_when_its_file_changes(site, run):
    host = site(
        KEYED, f"one: plugin = Keyed; key = file:key; run = {run}\ntwo: plugin = Keyed; key = literal; run = {run}"
    )
    (host.folder / "key").write_text("first\n")
    host.start()
    assert host.deliver("one", comment=1).text == "first"
    (host.folder / "key").write_text("second\n")
    until_reloaded(host, 1)
    assert host.deliver("one", comment=2).text == "second"
    assert host.deliver("two", comment=3).text == "literal"
    assert host.stop() == 0
    assert "second" not in host.log.read_text()


def test_env_is_read_again_at_sighup_for_the_bots_key_and_for_its_settings(site):
    host = site(KEYED, "one: plugin = Keyed; secret = env:BOT_SECRET; key = env:API_KEY")
    host.start({"BOT_SECRET": SECRET, "API_KEY": "first"})
    # from outside nobody can change a process's environment: the plugin does
    assert host.deliver("one", comment=1, text="renew").text == "first"
    host.tell(signal.SIGHUP)
    until_reloaded(host, 1)
    assert host.deliver("one", comment=2).status == 403
    body = delivery(5, 3)
    answer = host.post("one", body, {"X-Pyrus-Sig": sign(body, "another secret of good length")})
    assert (answer.status, answer.text) == (200, "second")
    assert host.stop() == 0


def test_a_config_maps_symlink_swap_is_one_reload_and_a_touched_file_none(site):
    host = site(PLUGINS, "one: plugin = Greeter; word = old")
    for name, word in (("v1", "old"), ("v2", "new")):
        (host.folder / name).mkdir()
        (host.folder / name / "bots.ini").write_text(ini(host).replace("word = old", f"word = {word}"))
        (host.folder / name / "bots.ini").chmod(0o600)
    (host.folder / "bots.ini").unlink()
    (host.folder / "data").symlink_to("v1")
    (host.folder / "bots.ini").symlink_to("data/bots.ini")
    host.start()
    os.utime(host.folder / "v1" / "bots.ini")
    (host.folder / "next").symlink_to("v2")
    (host.folder / "next").rename(host.folder / "data")
    until_reloaded(host, 1)
    assert host.deliver("one", comment=1).text == "new"
    assert reloads(host) == 1
    assert host.stop() == 0


def test_a_cut_off_or_vanished_file_is_kept_out_until_sighup(site):
    host = site(PLUGINS, "\n".join(f"bot{number}: plugin = Greeter" for number in range(6))).start()
    whole = ini(host)
    rewrite(host, whole[: whole.index("[bot:bot1]")])
    host.said("the old configuration stays")
    assert host.deliver("bot5", comment=1).status == 200
    host.tell(signal.SIGHUP)
    until_reloaded(host, 1)
    assert host.deliver("bot5", comment=2).status == 404
    assert host.deliver("bot0", comment=2).status == 200
    assert host.stop() == 0


@pytest.mark.parametrize("editor", ["vim", "in place, in pieces"])
def test_however_an_editor_saves_it_is_one_reload(site, editor):
    host = site(PLUGINS, "one: plugin = Greeter; word = old\ntwo: plugin = Greeter; word = old").start()
    new = ini(host).replace("word = old", "word = new")
    path = host.folder / "bots.ini"
    began = time.monotonic()
    if editor == "vim":
        (host.folder / ".bots.ini.swp").write_bytes(b"b0VIM")
        path.rename(host.folder / "bots.ini~")
        threading.Event().wait(0.8)  # a look falls into the moment in which there is no file
        path.write_text(new)
        path.chmod(0o600)
        away_s = time.monotonic() - began
        (host.folder / "bots.ini~").unlink()
    else:
        away_s = 0.0
        with path.open("w") as file:
            for at in range(0, len(new), len(new) // 6 + 1):
                file.write(new[at : at + len(new) // 6 + 1])
                file.flush()
                threading.Event().wait(0.4)
    until_reloaded(host, 1)
    assert [host.deliver(name, comment=1).text for name in ("one", "two")] == ["new", "new"]
    assert reloads(host) == 1
    if away_s < LOOK_S:  # on a busy machine two looks may agree that there is no file
        assert [line["message"] for line in host.lines() if line["level"] == "error"] == []
    assert host.stop() == 0


@pytest.mark.full
def test_a_checkout_of_another_branch_is_a_reload_and_so_is_the_way_back(site):
    host = site(PLUGINS, "one: plugin = Greeter; word = old")

    def git(*arguments: str) -> None:
        who = ["-c", "user.name=an operator", "-c", "user.email=operator@example.com"]
        subprocess.run(["git", *who, *arguments], cwd=host.folder, check=True, capture_output=True)

    git("init", "-q", "-b", "first")
    git("add", "bots.ini")
    git("commit", "-qm", "first")
    git("checkout", "-q", "-b", "second")
    rewrite(host, ini(host).replace("word = old", "word = new"))
    git("commit", "-qam", "second")
    git("checkout", "-q", "first")
    host.start()
    for times, (branch, word) in enumerate([("second", "new"), ("first", "old"), ("second", "new")], start=1):
        git("checkout", "-q", branch)
        until_reloaded(host, times)
        assert host.deliver("one", comment=times).text == word
    # a commit changes nothing that bots.ini holds
    git("commit", "-q", "--allow-empty", "-m", "nothing")
    threading.Event().wait(2.5)
    assert reloads(host) == 3
    assert host.stop() == 0


def test_a_bot_in_a_process_of_its_own_is_swapped_too_and_its_old_process_ends_after_its_last_run(site):
    host = site(PLUGINS, "one: plugin = Greeter; run = process; word = old; order = none; concurrency = 2").start()
    running = host.deliver_later("one", task=77, comment=1)
    host.wrote("began")
    rewrite(host, ini(host).replace("word = old", "word = new"))
    until_reloaded(host, 1)
    assert host.deliver("one", comment=2).text == "new"
    assert not (host.folder / "closed").exists()
    (host.folder / "go").write_text("yes")
    assert running.result().text == "old"
    assert host.wrote("closed").split() == ["old"]
    assert host.stop() == 0
    assert host.wrote("closed").split() == ["old", "new"]


def test_a_removed_bot_finishes_what_runs(site):
    host = site(PLUGINS, "one: plugin = Greeter; word = last\ntwo: plugin = Greeter").start()
    running = host.deliver_later("one", task=77, comment=1)
    host.wrote("began")
    text = ini(host)
    rewrite(host, text[: text.index("[bot:one]")] + text[text.index("[bot:two]") :])
    until_reloaded(host, 1)
    assert host.deliver("one", comment=2).status == 404
    (host.folder / "go").write_text("yes")
    assert running.result().text == "last"
    assert host.wrote("closed").split() == ["last"]
    assert host.stop() == 0


def test_under_load_a_reload_a_second_fails_no_delivery(site):
    host = site(PLUGINS, "one: plugin = Greeter; word = w0").start()
    stop = threading.Event()
    statuses: list[int] = []

    def load(worker: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", host.port, timeout=30)
        number = 0
        while not stop.is_set():
            number += 1
            body = delivery(worker * 1_000_000 + number, number)
            connection.request("POST", "/one", body, {"X-Pyrus-Sig": sign(body, SECRET)})
            answer = connection.getresponse()
            answer.read()
            statuses.append(answer.status)
            stop.wait(0.02)
        connection.close()

    workers = [threading.Thread(target=load, args=(worker,)) for worker in range(1, 7)]
    began = time.monotonic()
    for worker in workers:
        worker.start()
    for round_ in range(1, 9):
        rewrite(host, ini(host).replace(f"word = w{round_ - 1}", f"word = w{round_}"))
        host.tell(signal.SIGHUP)
        until_reloaded(host, round_)
        stop.wait(max(0.0, began + round_ - time.monotonic()))
    stop.set()
    for worker in workers:
        worker.join()
    took_s = time.monotonic() - began
    print(
        f"{len(statuses)} deliveries, {len(statuses) / took_s:.0f} a second, {reloads(host) / took_s:.2f} reloads a second"
    )
    assert len(statuses) > 300
    assert set(statuses) == {200}
    assert host.deliver("one", comment=1).text == "w8"
    assert host.stop() == 0


def test_what_of_the_host_takes_a_restart_is_said_and_what_holds_at_once_is_not(site):
    bots = "one: plugin = Greeter"
    host = site(PLUGINS, bots).start()
    (host.folder / "c.pem").write_text("a certificate and its key")
    changed = [
        "state = elsewhere", "processes = 2", "certfile = c.pem", "keyfile = c.pem", "unix_socket = x.sock",
        "operator_token = a token of the operator's", "public_url = https://bots.example",
    ]  # fmt: skip
    host.write(PLUGINS, bots, "\n".join(changed))
    said = host.said("the change needs a restart")["message"]
    assert set(re.findall(r"\w+", said.removeprefix("[host] ").partition(":")[0])) == {
        "state", "processes", "certfile", "keyfile", "unix_socket"
    }  # fmt: skip
    assert host.deliver("one").text == "hello"


def test_a_reload_that_is_asked_for_before_there_is_anything_to_reload_ends_nothing(site):
    host = site(PLUGINS, "one: plugin = Greeter")
    host.launch()
    status = Path(f"/proc/{host.process.pid}/status")
    host.until(lambda: int(re.search(r"SigIgn:\s+(\w+)", status.read_text())[1], 16) & 1)
    host.tell(signal.SIGHUP)
    host.port = int(host.said("serves ")["message"].rpartition(":")[2])
    assert host.deliver("one").text == "hello"
    host.tell(signal.SIGHUP)
    until_reloaded(host, 1)
    assert host.stop() == 0


def test_workers_that_start_reload_when_they_have(site):
    host = site(PLUGINS, "one: plugin = Greeter", "processes = 2")
    host.launch()
    host.said("worker 1 started")
    host.tell(signal.SIGHUP)
    until_reloaded(host, 2)
    assert not [line for line in host.lines() if "ended:" in line["message"]]
    host.port = int(host.said("serves ")["message"].rpartition(":")[2])
    assert host.deliver("one").text == "hello"
    assert host.stop() == 0


def test_a_file_that_was_cut_off_is_kept_out_until_sighup_and_removals_are_a_warning(site):
    host = site(PLUGINS, "".join(f"bot{n}: plugin = Greeter; word = hello\n" for n in range(6)).strip()).start()
    text = ini(host) + "\n"
    rewrite(host, text)
    until_reloaded(host, 1)
    rewrite(host, text[: text.index("[bot:bot5]")].rstrip())
    assert "was cut off" in host.said("the old configuration stays in use")["message"]
    assert host.deliver("bot5", comment=1).text == "hello"
    rewrite(host, text[: text.index("[bot:bot5]")])
    until_reloaded(host, 2)
    assert "bot5" in host.said("removed from bots.ini")["message"]
    assert host.deliver("bot5", comment=2).status == 404
    rewrite(host, text[: text.index("[bot:bot2]")])  # [host] and five bots became [host] and two
    for _ in range(2000):
        if sum("was cut off" in line["message"] for line in host.lines()) == 2:
            break
        threading.Event().wait(0.01)
    assert host.deliver("bot4", comment=3).text == "hello"
    assert host.stop() == 0
