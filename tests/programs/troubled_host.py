"""A host of 100 bots, 22 of them in trouble in different ways: `python -m tests.programs.troubled_host FOLDER`.

It starts the host, delivers what brings each trouble about, prints where page and bots are, and serves until it is told to stop.
"""

from __future__ import annotations

import signal
import sys
from pathlib import Path

from tests.e2e.site import SECRET, HostSite, delivery, free_port

from bothost.pyrus.signature import sign

PLUGINS = """
import asyncio, os, pathlib, time
HERE = pathlib.Path(__file__).parent
async def greet(event):
    return "hello"
async def silent(event):
    with (HERE / "silent-runs").open("a") as file:
        file.write(event.id + "\\n")
async def slow(event):
    await asyncio.sleep(0.5)
    return f"slow answer to {event.task_id}"
async def raises(event):
    raise ValueError("always")
async def sometimes(event):
    if event.task_id % 2:
        raise ValueError("every second time")
    return "fine"
async def late(event):
    await asyncio.sleep(0.6)
    return "late"
async def endless(event):
    await asyncio.sleep(60)
def hangs(event):
    time.sleep(600)
async def blocks(event):
    time.sleep(0.8)
async def unusable(event):
    return object()
async def gives_up(event):
    raise GiveUp("not for me")
async def dies(event):
    os._exit(3)
class Word(Settings):
    word: str
class settings(Plugin[Word]):
    async def handle(self, event):
        return self.settings.word
class opens(Plugin):
    async def open(self):
        raise OSError("the other side is down")
    async def handle(self, event):
        return None
"""
NO_API = "http://127.0.0.1:1/api/v4/"
TROUBLED = f"""\
t01-no-plugin: plugin = nowhere
t02-bad-key: plugin = greet; concurency = 4
t03-no-secret: plugin = greet; secret = env:NEVER_SET_ANYWHERE
t04-settings: plugin = settings
t05-opens: plugin = opens
t06-no-file: plugin = greet; secret = file:never-there
t07-path: plugin = greet; path = /healthz
t08-number: plugin = greet; concurrency = many
t09-dies: plugin = dies; run = process; login = bot@t09
t10-hangs: plugin = hangs; concurrency = 1; timeout = 200ms; login = bot@t10
t11-paused: plugin = greet
t12-no-login: plugin = late; answer_within = 300ms; api_url = {NO_API}
t13-no-api: plugin = late; answer_within = 300ms; api_url = {NO_API}; login = bot@t13
t14-raises: plugin = raises; login = bot@t14
t15-sometimes: plugin = sometimes; login = bot@t15
t16-timeout: plugin = endless; timeout = 200ms; login = bot@t16
t17-unusable: plugin = unusable; login = bot@t17
t18-gives-up: plugin = gives_up; login = bot@t18
t19-blocks: plugin = blocks; login = bot@t19
t20-wrong-key: plugin = greet; login = bot@t20
t21-stranger: plugin = greet; login = bot@t21
t22-off: plugin = greet; enabled = no"""
SLOW = ("slow-a", "slow-b", "slow-c")
MANY = "many"
HEALTHY = 100 - 22 - len(SLOW) - 1


def make(folder: Path) -> HostSite:
    """Write the host's folder."""
    healthy = "\n".join(f"h{number:02}: plugin = greet; login = bot@h" for number in range(1, HEALTHY + 1))
    slow = "\n".join(f"{name}: plugin = slow; concurrency = 2" for name in SLOW)
    bots = f"{TROUBLED}\n{MANY}: plugin = silent; login = bot@many\n{slow}\n{healthy}"
    host = HostSite(folder, PLUGINS, bots, f"operator_port = {free_port()}\ndrain = 5s\n")
    lines = (folder / "bots.ini").read_text()
    secret = f"secret = {SECRET}"
    out: list[str] = []
    name = ""
    for line in lines.splitlines():
        if line.startswith("[bot:"):
            name = line[5:-1]
        out.append(f"{secret}-{name}" if line == secret else line)
    (folder / "bots.ini").write_text("\n".join(out) + "\n")
    return host


def send(host: HostSite, bot: str, task: int, attempt: str = "1/3", key: str = "") -> tuple[int, str]:
    """One delivery, signed with the bot's key or with another one."""
    body = delivery(task, task)
    headers = {"X-Pyrus-Sig": sign(body, key or f"{SECRET}-{bot}"), "X-Pyrus-Retry": attempt}
    answer = host.post(bot, body, headers)
    return answer.status, answer.text if answer.status == 200 else ""


def bring_about(host: HostSite) -> None:
    """Deliver what brings each trouble about."""
    for number in range(5):
        send(host, "t09-dies", 900 + number, "3/3")
    host.command("pause", "t11-paused", "--reason", "a new release")
    send(host, "t10-hangs", 1000, "3/3")
    for bot in ("t12-no-login", "t13-no-api"):
        for task in range(3):
            send(host, bot, 1200 + task)
    for bot in ("t14-raises", "t15-sometimes", "t16-timeout", "t17-unusable", "t18-gives-up"):
        for task in range(4):
            send(host, bot, 1400 + task, "3/3")
    send(host, "t19-blocks", 1900)
    for task in range(4):
        send(host, "t20-wrong-key", 2000 + task, key="another key of enough letters")
    send(host, "t21-stranger", 2100, key="another key of enough letters")
    for task in range(12):
        send(host, "t21-stranger", 2110 + task)
    for task in range(9):
        send(host, "t01-no-plugin", 100 + task)


if __name__ == "__main__":
    place = Path(sys.argv[1]).absolute()
    place.mkdir(parents=True, exist_ok=True)
    running = make(place).start()
    bring_about(running)
    print(f"bots at http://127.0.0.1:{running.port}, configuration {place}/bots.ini; Ctrl+C stops it", flush=True)
    signal.signal(signal.SIGINT, lambda *_: running.tell())
    sys.exit(running.wait(10**9))
