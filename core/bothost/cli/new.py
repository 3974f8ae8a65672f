"""`bothost new NAME`: a distribution with one bot whose tests pass at once and that `bothost demo` can run."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import secrets
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

import bothost
from bothost.cli.help import Command
from bothost.cli.output import json_option, language, say, show_data, show_json
from bothost.cli.scaffold import RecordedDelivery, files, is_taken, names
from bothost.errors import BodyRefused, UsageError
from bothost.operator.anonymize import Anonymizer
from bothost.pyrus.envelope import decode, is_own, waiting_step

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

PRIVATE_FILES = frozenset({"bots.ini", "tests/delivery.json"})


@click.command(cls=Command, epilog="Example: bothost new fresh-bot")
@click.argument("name")
@click.option("--from", "recorded", type=click.Path(exists=True, dir_okay=False, path_type=Path), metavar="DELIVERY.json",
              help="Start from a recorded delivery: its form, and a test with it.")  # fmt: skip
@json_option
def new(name: str, recorded: Path | None, as_json: bool) -> None:
    """Make a folder NAME with a bot of your own: package, settings, test, README and bots.ini."""
    folder = Path.cwd() / name
    of = names(name, taken())
    if folder.exists():
        raise UsageError(
            f"{folder} exists already, and nothing is ever written into it: give another name, or remove it"
        )
    read = None if recorded is None else read_recorded(recorded)
    key, version = secrets.token_urlsafe(32), bothost.__version__
    write(folder, files(of, secret=key, version=version, recorded=read, language=language()))
    if as_json:
        show_json({"folder": str(folder)})
        return
    say(f"{name}/ is ready. Next:")
    show_data(f"  cd {name} && pip install -e '.[test]' && pytest && bothost demo")


def taken() -> Callable[[str], bool]:
    """Make a function that tells whether a distribution, an importable package or a plugin of a name is there already."""
    points = importlib.metadata.entry_points(group="bothost.plugins")
    known = is_taken(
        {
            *(distribution.name for distribution in importlib.metadata.distributions() if distribution.name),
            *importlib.metadata.packages_distributions(),
            *points.names,
        }
    )

    def is_there(name: str) -> bool:
        return known(name) or importlib.util.find_spec(name.replace("-", "_")) is not None

    return is_there


def read_recorded(path: Path) -> RecordedDelivery:
    """Return a recorded delivery with everything masked that names people. Raises UsageError if the file holds no delivery."""
    sent = path.read_bytes()
    try:
        body: dict[str, Any] = Anonymizer().body(sent)
    except (ValueError, AttributeError) as error:
        raise UsageError(f"{path} holds no delivery, a JSON object as Pyrus posts it: {error}") from error
    task = body.get("task")
    form_id = task.get("form_id") if isinstance(task, dict) else None
    if not isinstance(task, dict) and "task_id" not in body:
        raise UsageError(f"{path} holds no delivery: it has neither `task` nor `task_id`")
    if is_passed_over(sent):
        raise UsageError(
            f"{path}: its newest comment is the bot's own, so no plugin would get it: use a delivery that the bot has to answer"
        )
    return RecordedDelivery(
        msgspec.json.Encoder(decimal_format="number").encode(body), form_id if isinstance(form_id, int) else None
    )


def is_passed_over(sent: bytes) -> bool:
    """Return whether a host that knows nothing else of the task would take it for an echo of the bot's own comment."""
    try:
        envelope = decode(sent)
    except BodyRefused:
        return False
    bot = envelope.user_id
    return envelope.kind in ("", "comment") and is_own(envelope, bot) and not waiting_step(envelope, bot)


def write(folder: Path, made: Mapping[str, bytes]) -> None:
    """Write the files into a new folder; those that hold secrets or people's data can be read by their owner only."""
    folder.mkdir()
    for name, content in made.items():
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600 if name in PRIVATE_FILES else 0o666)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
