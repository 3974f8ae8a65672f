"""`send`: make a signed delivery to a bot of this host, or to any URL."""

from __future__ import annotations

import contextlib
import json
import secrets
import sys
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bothost.cli import OK, PROBLEM
from bothost.cli.bot_status import form_of, judge
from bothost.cli.help import Command
from bothost.cli.http_delivery import DeliveryResponse, DeliveryTarget, deliver, host_target, parse_target
from bothost.cli.journal_access import visit
from bothost.cli.output import config_option, json_option, laid_out, say, show_data, show_json
from bothost.cli.selection import bot_named, complete_bot, given_secret, host_of, read_existing
from bothost.cli.send_hook import rule_of, send_to_hook, tell
from bothost.clock import SystemClock
from bothost.config import read
from bothost.errors import BothostError, ConfigError, UsageError
from bothost.pyrus.envelope import decode, event_key
from bothost.pyrus.samples import LARGEST_ID, sample, with_fresh_ids

if TYPE_CHECKING:
    from bothost.clock import Clock
    from bothost.config import BotConfig, ConfigReading

MOST_TIMES = 10_000


@dataclass(slots=True)
class SendOptions:
    """The options of `send`."""

    bot: str | None
    file: str | None
    changes: tuple[str, ...]
    attempt: str
    times: int
    fresh: bool
    url: str | None
    secret: str | None
    hook: str | None
    config: str
    as_json: bool

    def __post_init__(self) -> None:
        if self.url and self.secret and self.file is None:
            self.bot, self.file = None, self.bot


@dataclass(frozen=True, slots=True)
class Recipient:
    """The target of the delivery and the secret that signs it."""

    target: DeliveryTarget
    secret: bytes
    bot: BotConfig | None
    reading: ConfigReading | None = None


@click.command(cls=Command, epilog='Example: bothost send autoreply --set task.text="Hello there" --attempt 2/3')
@click.argument("bot", required=False, shell_complete=complete_bot)
@click.argument("file", type=click.Path(), required=False)
@click.option(
    "--set",
    "changes",
    multiple=True,
    metavar="PLACE=VALUE",
    help="Change the body: task.text=Hello, task.comments.0.text=…",
)
@click.option("--attempt", default="1/3", show_default=True, metavar="N/M", help="The value of X-Pyrus-Retry.")
@click.option(
    "--times",
    default=1,
    show_default=True,
    type=click.IntRange(1, MOST_TIMES),
    help="Send it this many times, one after another.",
)
@click.option("--fresh", is_flag=True, help="Give the task and its newest comment new ids: a new event.")
@click.option("--url", help="Send it to this address instead of the host of bots.ini.")
@click.option(
    "--secret",
    metavar="env:NAME",
    help="Sign with this secret (env:NAME, file:PATH) instead of the bot's.",
)
@click.option("--hook", metavar="NAME", help="Send FILE to this hook of the bot, signed by the hook's guard.")
@config_option
@json_option
def send(**given: Any) -> int:
    """Sign FILE, or a built-in sample with fresh ids, and send it to BOT as Pyrus does; print status and reply.

    FILE is sent as it is, byte for byte, unless --set or --fresh change it; `-` is the standard input. With --url and
    --secret no BOT is needed: `bothost send --url https://HOST/PATH --secret env:KEY FILE`.
    """
    clock = SystemClock()
    wanted = SendOptions(**given)
    if wanted.hook:
        return _send_to_hook(wanted, wanted.hook, clock)
    addressee = _addressee(wanted)
    body = _body(wanted, addressee, clock)
    worst = OK
    told: list[dict[str, Any]] = []
    for _ in range(wanted.times):
        answer = deliver(addressee.target, body, addressee.secret, wanted.attempt, clock)
        worst = worst if answer.status == 200 else PROBLEM
        if wanted.as_json:
            told.append(_row(answer))
        else:
            _show(answer, _first_time(wanted, addressee, body) if answer.repeat else "")
    if wanted.as_json:
        show_json(told[0] if wanted.times == 1 else told)
    return worst


def _send_to_hook(wanted: SendOptions, hook: str, clock: Clock) -> int:
    if wanted.bot is None or wanted.changes or wanted.fresh or wanted.secret:
        raise UsageError("--hook wants a BOT of bots.ini, and none of --set, --fresh and --secret")
    chosen, reading = _serving(wanted.bot, wanted.config)
    rule = rule_of(chosen.name, hook, reading, wanted.config)
    target = parse_target(wanted.url) if wanted.url else host_target(host_of(reading))
    body = _read(wanted.file) if wanted.file is not None else b""
    row = send_to_hook(target, chosen.path, rule, body, clock)
    tell(row, rule, as_json=wanted.as_json)
    return OK if row["status"] < 400 else PROBLEM


def _addressee(wanted: SendOptions) -> Recipient:
    given = parse_target(wanted.url) if wanted.url else None
    if wanted.bot is None:
        if given is None or wanted.secret is None:
            raise UsageError("name a BOT of bots.ini, or give --url and --secret for one that is elsewhere")
        return Recipient(given, given_secret(wanted.secret, Path.cwd()), None)
    chosen, reading = _serving(wanted.bot, wanted.config)
    secret = given_secret(wanted.secret, Path(wanted.config).parent) if wanted.secret else chosen.secrets[0]
    target = given or host_target(host_of(reading))
    return Recipient(target.at(chosen.path), secret, chosen, reading)


def _serving(bot: str, config: str) -> tuple[BotConfig, ConfigReading]:
    """Return the bot of this name, and the configuration of the host that serves it. Raises ConfigError and UsageError."""
    reading = read_existing(config)
    try:
        return bot_named(bot, reading), reading
    except ConfigError:
        # only a demo accepts a sample secret, so what is sent is for a demo
        with_samples = read(config, demo=True)
        if bot not in with_samples.bots:
            raise
        return with_samples.bots[bot], with_samples


def _body(wanted: SendOptions, addressee: Recipient, clock: Clock) -> bytes:
    fresh_id = new_id()
    if wanted.file is None:
        body = built_in(wanted.config, addressee, clock, fresh_id)
    else:
        content = _read(wanted.file)
        if not wanted.changes and not wanted.fresh:
            return content
        body = decoded_body(content, wanted.file)
        if wanted.fresh:
            body = with_fresh_ids(body, fresh_id)
    for assignment in wanted.changes:
        change(body, assignment)
    return json.dumps(body, ensure_ascii=False).encode()


def built_in(config: str, addressee: Recipient, clock: Clock, fresh_id: int) -> dict[str, Any]:
    """Return the sample delivery, of a form that the bot takes, as far as its section and its plugin tell."""
    form_id = None
    if addressee.bot is not None and addressee.reading is not None:
        alone = replace(addressee.reading, bots={addressee.bot.name: addressee.bot}, stubs={})
        with contextlib.redirect_stdout(sys.stderr):  # what the plugin's import prints is not the answer
            form_id = form_of(judge(alone, Path(config).absolute().parent)[0])
    return sample(clock.now(), fresh_id, form_id)


def new_id() -> int:
    """Return a task's id that no event of this journal has, from the upper half of the integers that JavaScript can hold."""
    return LARGEST_ID // 2 + secrets.randbelow(LARGEST_ID // 2 - 2)


def _read(file: str) -> bytes:
    return sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()


def decoded_body(content: bytes, file: str) -> dict[str, Any]:
    """Return the body of a recorded delivery, so that it can be changed. Raises UsageError if it is no JSON object."""
    try:
        body = json.loads(content)
    except ValueError as error:
        raise UsageError(f"{file} is not JSON, so its ids cannot be changed: {error}") from None
    if not isinstance(body, dict):
        raise UsageError(f"{file} is not a JSON object, so its ids cannot be changed")
    return body


def _row(answer: DeliveryResponse) -> dict[str, Any]:
    return {
        "status": answer.status,
        "reply": answer.reply,
        "repeat": answer.repeat,
        "ms": round(answer.seconds * 1000, 1),
    }


def _first_time(wanted: SendOptions, addressee: Recipient, body: bytes) -> str:
    """Return when the event of this body first came, according to the journal; "" if that does not know it."""
    if addressee.bot is None or wanted.url:
        return ""
    try:
        key = event_key(addressee.bot.name, decode(body))
        entry = visit(wanted.config, lambda journal: journal.latest(key))
    except BothostError:
        return ""
    return datetime.fromtimestamp(entry.created, UTC).astimezone().strftime(" of %H:%M") if entry else ""


def _show(answer: DeliveryResponse, first_time: str) -> None:
    say(f"{answer.status} in {answer.seconds * 1000:.0f} ms{_meaning(answer)}")
    if answer.repeat:
        say(f"repeat{first_time}, not run again; `--fresh` gives it new ids")
    show_data(laid_out(answer.reply))


_MEANINGS = {
    400: "the body is not a delivery: it must be a JSON object with a task_id",
    403: "the signature is not this bot's: was it made with another secret?",
    404: "no bot has this path, or it is off",
    405: "a bot accepts only POST",
    413: "the body is larger than max_body",
    500: "the handler failed: see the host's log",
    503: "the bot cannot take it now: `bothost bots` says why",
}


def _meaning(answer: DeliveryResponse) -> str:
    if answer.status == 200 and answer.reply == {}:
        return " (the bot says nothing, or its reply comes later)"
    return f" ({_MEANINGS[answer.status]})" if answer.status in _MEANINGS else ""


def change(body: dict[str, Any], assignment: str) -> None:
    """Carry out `task.text=Hello`. The left side is a path of keys and list indexes, the right side JSON or a text."""
    path, equals, text = assignment.partition("=")
    steps = path.strip().split(".")
    if not equals or not all(steps):
        raise UsageError(f"--set {assignment!r} is not an assignment: write --set task.text=Hello")
    try:
        value = json.loads(text)
    except ValueError:
        value = text
    place: Any = body
    for step, following in zip(steps, [*steps[1:], None], strict=True):
        place = _step(place, step, assignment, value, following)


def _step(place: Any, step: str, assignment: str, value: Any, following: str | None) -> Any:
    last = following is None
    if isinstance(place, dict):
        if last:
            place[step] = value
            return None
        return place.setdefault(step, [] if following in ("0", "-1") else {})
    if isinstance(place, list) and step.removeprefix("-").isdecimal():
        index = int(step)
        if index == len(place) or (index == -1 and not place):
            place.append({})
            index = -1
        if -len(place) <= index < len(place):
            if last:
                place[index] = value
            return place[index]
        raise UsageError(f"--set {assignment!r}: the list has {len(place)} items, so there is no index {step}")
    raise UsageError(f"--set {assignment!r}: there is nothing below {step!r}, because it belongs to {_kind(place)}")


def _kind(value: Any) -> str:
    if isinstance(value, list):
        return "a list, whose indexes are numbers"
    return "empty" if value is None else f"the plain value {json.dumps(value, ensure_ascii=False)}"
