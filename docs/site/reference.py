"""Make the pages of the reference from the code's own tables: names, commands, keys of bots.ini."""

from __future__ import annotations

import re
from functools import partial
from typing import TYPE_CHECKING, Any

import click

import bothost
import bothost.testing
from bothost.cli.commands import TABLE
from bothost.cli.commands import bothost as command_line
from bothost.config.bot import KEYS as BOT_KEYS
from bothost.config.host import keys as host_keys

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from bothost.config.section import ConfigKey

# in the order in which an author meets them; `_api` refuses a name that is missing here
NAMES = {
    "Bots and events": ["Plugin", "Event", "on", "Tick", "every", "cron", "on_run"],
    "Replies": ["Reply", "Answer", "GiveUp"],
    "Tasks": ["Task", "Comment", "Field", "Row", "CatalogItems", "Choice", "Person", "Role", "Approval", "Step",
              "Subscriber", "Channel", "Address", "SmsInfo", "File"],
    "Settings": ["Settings", "Secret", "FieldName", "TextTemplate", "ServiceAddress"],
    "Requests from elsewhere": ["hook", "signed", "token", "anyone", "Request", "Response", "FormFile", "RequestRefused",
                                "value_at"],
    "State and jobs": ["Store", "job", "Job", "Jobs"],
    "Calls to Pyrus": ["Pyrus", "Call", "Pages", "Form", "Catalog", "CatalogChange", "Contacts", "Profile", "Inbox",
                       "TaskList", "Announcement", "Upload"],
    "Errors": ["BothostError", "FieldError", "MissingField", "AmbiguousField", "ReplyError", "StoreError", "CallError",
               "RateLimited", "Unauthorized", "NoLogin", "CallRefused", "CallUnclear", "CallUnsent"],
    "Signing": ["sign"],
}  # fmt: skip


def pages(root: Path) -> dict[str, str]:
    """Return each generated page's text by its name."""
    guide = (root / "docs" / "operator-guide.md").read_text("utf-8")
    return {
        "reference/bothost.md": _api("bothost", bothost, NAMES, "What plugins import from `bothost`."),
        "reference/testing.md": _api(
            "bothost.testing",
            bothost.testing,
            {"": bothost.testing.__all__},
            "What tests import from `bothost.testing`.",
        ),
        "reference/commands.md": "".join(_commands()),
        "reference/bots-ini.md": "".join(_keys(guide, host_keys(root))),
    }


def _api(module: str, package: Any, groups: Mapping[str, list[str]], about: str) -> str:
    listed = [name for names in groups.values() for name in names]
    if set(listed) != set(package.__all__):
        raise ValueError(f"docs/site/reference.py and {module}.__all__ differ: {set(listed) ^ set(package.__all__)}")
    text = f"# API: {module}\n\n{about} The [plugin guide](../plugin-guide.md) shows how they are used.\n"
    for title, names in groups.items():
        text += f"\n## {title}\n" if title else ""
        for name in names:
            text += f"\n```{{eval-rst}}\n{_directive(module, package, name)}```\n"
    return text


def _directive(module: str, package: Any, name: str) -> str:
    value = getattr(package, name)
    if isinstance(value, type):
        return f".. autoclass:: {module}.{name}\n   :members:\n   :inherited-members: Exception, BaseException, str, tuple, object, Mapping\n"
    kind = "autofunction" if callable(value) and hasattr(value, "__code__") else "autodata"
    return f".. {kind}:: {module}.{name}\n"


def _commands() -> Iterator[str]:
    yield "# Commands\n\nEvery command as its `--help` shows it. The [operator guide](../operator-guide.md#the-command-line) says when to use which.\n"
    yield f"\n```text\n{_help('', command_line)}\n```\n"
    for name in TABLE:
        command = command_line.get_command(click.Context(command_line), name)
        assert command is not None
        yield f"\n## `bothost {name}`\n\n```text\n{_help(name, command)}\n```\n"
        if isinstance(command, click.Group):
            for inner, one in command.commands.items():
                yield f"\n### `bothost {name} {inner}`\n\n```text\n{_help(f'{name} {inner}', one)}\n```\n"


def _help(name: str, command: click.Command) -> str:
    context = click.Context(command, info_name=f"bothost {name}".strip(), max_content_width=96, terminal_width=96)
    return command.get_help(context)


def _keys(guide: str, host: Mapping[str, ConfigKey]) -> Iterator[str]:
    yield "# Keys of bots.ini\n\nWhat each key means, its default, and what may be written. The [operator guide](../operator-guide.md#botsini) explains the file.\n"
    chapters = {
        "`[host]`": ("### `[host]`", host),
        "`[bot]` and `[bot:NAME]`": ("### `[bot]` and `[bot:NAME]`", BOT_KEYS),
    }
    for title, (heading, grammar) in chapters.items():
        yield f"\n## {title}\n"
        for names, default, meaning in _rows(guide, heading):
            for name in names:
                yield f"\n### `{name}`\n\n{meaning[:1].upper()}{meaning[1:]}.\n\n- Default: {default or 'none'}\n"
                if values := _values(grammar.get(name)):
                    yield f"- Values: {values}\n"


def _rows(guide: str, heading: str) -> Iterator[tuple[list[str], str, str]]:
    """Yield the rows of a chapter's table: keys, default, meaning. Links within the guide lead to it."""
    chapter = guide.partition(f"\n{heading}\n")[2].partition("\n### ")[0].partition("\n## ")[0]
    for cells in re.findall(r"^\| (`.*?) \| (.*?) ?\| (.*) \|$", chapter, re.MULTILINE):
        meaning = re.sub(r"\]\(#", "](../operator-guide.md#", cells[2])
        yield re.findall(r"`([^`]+)`", cells[0]), cells[1], meaning.rstrip(".")


def _values(key: ConfigKey | None) -> str:
    """Return the words that a key takes, or its bounds. "" where its text is free."""
    if key is None:
        return "`env:NAME`, `file:PATH` or the value itself"
    if key.read.__class__ is partial:
        given = key.read.keywords
        if "allowed" in given:
            return ", ".join(f"`{word}`" for word in given["allowed"])
        if "low" in given:
            return f"a whole number from {given['low']} to {given['high']}"
    return {"truth": "`yes` or `no`", "seconds": "a duration, such as `50s`, `15m`, `7d`", "positive":
            "a duration above zero, such as `50s`, `15m`, `7d`", "size": "a size, such as `64k`, `16M`"}.get(
        getattr(key.read, "__name__", ""), ""
    )  # fmt: skip
