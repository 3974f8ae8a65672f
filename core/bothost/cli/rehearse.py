"""`bothost rehearse BOT --since 24h`: compare the replies of the installed plugin with those that were given."""

from __future__ import annotations

import base64
import json
import re
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Literal

import click
import msgspec

from bothost.cli import OK, PROBLEM
from bothost.cli.help import Command
from bothost.cli.journal_access import visit
from bothost.cli.output import config_option, json_option, say, show_data, show_json, word
from bothost.cli.rehearse_child import DataQuestion, RehearsalResult, RehearsedEvent
from bothost.cli.selection import bot_argument, bot_named, duration, read_existing
from bothost.clock import SystemClock
from bothost.errors import BothostError
from bothost.journal.data import JournalData
from bothost.journal.entry import EntryFilter

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bothost.journal import Journal
    from bothost.journal.entry import Entry

PAGE = 500
NO_BODY = "whose body is no longer kept (see `keep` in bots.ini)"
Verdict = Literal["same", "differs", "fails", "not rehearsed"]


@dataclass(frozen=True, slots=True)
class AnsweredEvent:
    """An event of the past: the request to run again, and the reply or the failure that it got."""

    stored: RehearsedEvent
    reply: bytes
    version: str
    failure: str = ""


@dataclass(frozen=True, slots=True)
class ReplyComparison:
    """The comparison of one event's new reply with the one that was given."""

    id: str
    verdict: Verdict
    was: Any
    now: Any
    why: str = ""

    def row(self) -> dict[str, Any]:
        """Return it for a program."""
        return {"id": self.id, "verdict": self.verdict, "was": self.was, "now": self.now, "why": self.why}


@click.command(cls=Command, epilog="Example: bothost rehearse autoreply --since 24h")
@bot_argument
@click.option(
    "--since", default="24h", show_default=True, metavar="AGE", help="Events younger than this: 30m, 24h, 7d."
)
@click.option(
    "--limit", type=click.IntRange(1, 100_000), default=1000, show_default=True, help="At most this many, the newest."
)
@config_option
@json_option
def rehearse(bot: str, since: str, limit: int, config: str, as_json: bool) -> int:
    """Run stored events through the installed plugin, without network and without posting, and compare the replies.

    The exit code is 1 if a reply differs from the one that was given, or the handler fails.
    """
    bot_named(bot, read_existing(config))
    past_s = duration("--since", since)
    past, skipped = visit(config, lambda journal: stored_of(journal, bot, journal.now() - past_s, limit))
    compared, alone = play(bot, config, past) if past else ([], True)
    if as_json:
        rows = [one.row() for one in compared]
        show_json({"network": wall(alone=alone), "no body": skipped[NO_BODY], "skipped": dict(skipped), "events": rows})
    else:
        tell(compared, skipped, alone=alone)
    return PROBLEM if any(one.verdict in ("differs", "fails") for one in compared) else OK


async def stored_of(journal: Journal, bot: str, began: float, limit: int) -> tuple[list[AnsweredEvent], Counter[str]]:
    """Return the events that the plugin answered or failed, oldest first, and how many were skipped for which reason."""
    facts = await journal.controls()
    learnt = facts.get(f"user:{bot}", "")
    user_id = int(learnt) if learnt.isdecimal() else None
    found: list[AnsweredEvent] = []
    skipped: Counter[str] = Counter()
    before: tuple[float, str] | None = None
    while len(found) < limit:
        want = EntryFilter(bot=bot, states=("answered", "failed"), since=began, before=before, limit=PAGE)
        page = await journal.list(want)
        if not page:
            break
        before = (page[-1].created, page[-1].id)
        for entry in page:
            body = await journal.body(entry.id)
            if why := not_rehearsed(entry, body):
                skipped[why] += 1
            elif body is not None and len(found) < limit:
                found.append(as_past(entry, body, user_id))
    return found[::-1], skipped


def not_rehearsed(entry: Entry, body: bytes | None) -> str:
    """Return why an entry is skipped; "" if it is rehearsed."""
    if entry.kind not in ("hook", "missed", "manual"):
        return "timers, jobs and the like"
    if entry.state == "failed" and not entry.runs:
        return "never run"
    return NO_BODY if body is None else ""


def as_past(entry: Entry, body: bytes, user_id: int | None) -> AnsweredEvent:
    """Return an entry with its body and reply."""
    encoded = base64.b64encode(body).decode()
    stored = RehearsedEvent(entry.id, encoded, entry.created, entry.rerun, user_id)
    # a reply that could not be posted is a reply all the same; a failed run has an error text at most
    failure = entry.error.partition("\n")[0] if entry.failed else ""
    return AnsweredEvent(stored, entry.answer or b"{}", entry.version, failure)


def play(bot: str, config: str, past: Sequence[AnsweredEvent]) -> tuple[list[ReplyComparison], bool]:
    """Run the events in a child. Return the comparisons, and whether the child had no network at all. Raises BothostError."""
    command = [sys.executable, "-P", "-m", "bothost.cli.rehearse_child"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        child.stdin.write(json.dumps({"bot": bot, "config": config}).encode() + b"\n")
        child.stdin.flush()
        alone = bool(answer_of(child.stdout.readline(), dict).get("alone"))
        compared = []
        for one in past:
            child.stdin.write(msgspec.json.encode(one.stored) + b"\n")
            child.stdin.flush()
            line = child.stdout.readline()
            while (question := question_of(line)) is not None:
                child.stdin.write(msgspec.json.encode({"value": looked_up(bot, config, question)}) + b"\n")
                child.stdin.flush()
                line = child.stdout.readline()
            compared.append(compare(one, answer_of(line, RehearsalResult)))
        child.stdin.close()
        child.wait()
    return compared, alone


def question_of(line: bytes) -> DataQuestion | None:
    """Read a line of the child as a question about the journal; None if it is an answer."""
    return msgspec.json.decode(line, type=DataQuestion) if line.startswith(b'{"space"') else None


def looked_up(bot: str, config: str, question: DataQuestion) -> Any:
    """Look into the bot's store: a rehearsal reads it and changes nothing."""
    return visit(config, lambda journal: JournalData(journal, bot, SystemClock()).ask(question.space, question.request))


def answer_of(line: bytes, kind: Any) -> Any:
    """Decode one line of the child. Raises BothostError if the child could not begin or has died."""
    if not line:
        raise BothostError("the rehearsal's child ended before its time; what it said stands above")
    said = msgspec.json.decode(line)
    if "id" not in said and said.get("error"):
        raise BothostError(said["error"])
    return msgspec.json.decode(line, type=kind)


def compare(past: AnsweredEvent, told: RehearsalResult) -> ReplyComparison:
    """Compare the replies of one event."""
    was = json.loads(past.reply, parse_float=Decimal)
    now = json.loads(told.reply, parse_float=Decimal)
    if told.left:
        return ReplyComparison(
            past.stored.id, "not rehearsed", was, None, f"its handler tried to leave: {', '.join(told.left)}"
        )
    if told.error and past.failure:
        same = bare(told.error) == bare(past.failure)
        return ReplyComparison(past.stored.id, "same" if same else "fails", {}, None, "" if same else told.error)
    if told.error:
        return ReplyComparison(past.stored.id, "fails", was, None, told.error)
    if past.failure:
        return ReplyComparison(
            past.stored.id, "differs", {"failed": bare(past.failure)}, now, "it failed then, and replies now"
        )
    return ReplyComparison(past.stored.id, "same" if was == now else "differs", was, now)


def bare(failure: str) -> str:
    """Return a failure without the bot's name and the line of code, which a new version moves."""
    return re.sub(r"^\[bot:[^]]*\] ", "", re.sub(r" \([^()]*:\d+[^()]*\)$", "", failure))


def tell(compared: Sequence[ReplyComparison], skipped: Mapping[str, int], *, alone: bool) -> None:
    """Print for a person what differs, then the sum."""
    for one in compared:
        if one.verdict == "same":
            continue
        say(f"{one.id}: {word(one.verdict)}{': ' + one.why if one.why else ''}")
        if one.verdict == "differs":
            for line in differences(one.was, one.now):
                show_data(f"    {line}")
    counts = {
        verdict: sum(one.verdict == verdict for one in compared)
        for verdict in ("same", "differs", "fails", "not rehearsed")
    }
    told = ", ".join(f"{count} {verdict}" for verdict, count in counts.items() if count)
    say(f"{len(compared)} rehearsed{': ' + told if told else ''} ({wall(alone=alone)})")
    if skipped:
        told = ", ".join(f"{count} {why}" for why, count in sorted(skipped.items()))
        say(f"{sum(skipped.values())} more skipped: {told}")
    if not compared and not skipped:
        say("the journal has no answered or failed event of this bot in that time: --since 7d looks further back")


def wall(*, alone: bool) -> str:
    """Say what keeps the child off the network."""
    return "no network: a namespace of its own" if alone else "no network: sockets are refused by an audit hook"


def differences(was: Any, now: Any) -> list[str]:
    """Return the keys in which two replies differ, with both values."""
    keys = [*was, *(key for key in now if key not in was)]
    return [f"{key}: {shown(was, key)} → {shown(now, key)}" for key in keys if was.get(key) != now.get(key)] or [
        "order"
    ]


def shown(reply: dict[str, Any], key: str) -> str:
    """Return one value of a reply as text; a dash if the key is absent."""
    return json.dumps(reply[key], ensure_ascii=False, default=str) if key in reply else "–"
