"""`call` and `shell`: ask Pyrus as a bot, and read what it keeps, from a terminal."""

from __future__ import annotations

import asyncio
import code
import json
import threading
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from bothost import __version__
from bothost.cli.completion import complete_account
from bothost.cli.help import Command
from bothost.cli.journal_access import visiting
from bothost.cli.output import config_option, json_option, language
from bothost.cli.selection import bot_argument, bot_named, host_of, read_existing
from bothost.clock import SystemClock
from bothost.errors import BothostError, UsageError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from bothost.config import BotConfig, HostConfig
    from bothost.pyrus_client.api import Pyrus

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class CallOptions:
    """The command line of `call`."""

    bot: str
    method: str
    path: str
    pairs: tuple[str, ...]
    body: str | None
    account: str | None
    config: str
    as_json: bool
    """Changes nothing: the answer is JSON in any case."""


METHODS = ("GET", "POST", "PUT", "DELETE")


@click.command(cls=Command, epilog="Example: bothost call refunds GET tasks/5")
@bot_argument
@click.argument("method", type=click.Choice(METHODS, case_sensitive=False))
@click.argument("path")
@click.argument("pairs", metavar="[KEY=VALUE]...", nargs=-1)
@click.option("--body", metavar="JSON", help="The request's body: JSON, or @FILE.")
@click.option(
    "--as",
    "account",
    metavar="ACCOUNT",
    shell_complete=complete_account,
    help="Ask as this [account:NAME] of the bot instead.",
)
@config_option
@json_option
def call(**options: Any) -> None:
    """Ask Pyrus's API as BOT, by its login, and print the answer.

    PATH stands below the base URL, KEY=VALUE pairs become the query. POST, PUT and DELETE change real data.
    """
    wanted = CallOptions(**options)
    reading = read_existing(wanted.config)
    chosen = bot_that_logs_in(wanted.bot, reading)
    click.echo(
        json.dumps(asyncio.run(asked(wanted, chosen, host_of(reading))), ensure_ascii=False, indent=2, default=str)
    )


async def asked(wanted: CallOptions, bot: BotConfig, host: HostConfig) -> Any:
    """Ask, and return the answer's value. Raises CallError, and UsageError for what cannot be asked."""
    query = dict(pair.partition("=")[::2] for pair in wanted.pairs)
    sent = read_body(wanted.body)
    method = wanted.method.lower()
    if sent is not None and method not in ("post", "put"):
        raise UsageError(f"--body goes with POST and PUT, not with {wanted.method}")
    async with calling(bot, host) as pyrus:
        account = pyrus.as_account(wanted.account) if wanted.account else pyrus
        body = () if method in ("get", "delete") else (sent,)
        try:
            return await getattr(account, method)(wanted.path, *body, **query)
        except ValueError as error:  # the path
            raise UsageError(str(error)) from None


@click.command(cls=Command, epilog="Example: bothost shell refunds")
@bot_argument
@config_option
@json_option
def shell(bot: str, config: str, as_json: bool) -> None:
    """Open a Python prompt with `pyrus`, which asks Pyrus as BOT, and `store`, which holds what BOT keeps.

    `.wait()` behind a call gives its result: `pyrus.task(5).wait()`, `store.get("key").wait()`. Both write real data if you do.
    """
    del as_json  # a prompt is for people
    reading = read_existing(config)
    chosen = bot_named(bot, reading)
    with held_from_here(prompt_names(chosen, host_of(reading))) as (names, told):
        code.interact("\n".join(map(language().message, [*told, "leave: Ctrl+D"])), local=names, exitmsg="")


def bot_that_logs_in(name: str, reading: Any) -> BotConfig:
    """Return the bot. Raises UsageError if it has no login to ask by."""
    chosen = bot_named(name, reading)
    if not chosen.login:
        raise UsageError(f"[bot:{name}] has no login, so there is nobody to ask as: set login = bot@… from Pyrus")
    return chosen


def read_body(text: str | None) -> Any:
    """Return the body's value. Raises UsageError if it is no JSON object."""
    if text is None:
        return None
    given = Path(text[1:]).read_text("utf-8") if text.startswith("@") else text
    try:
        value = json.loads(given)
    except ValueError as error:
        raise UsageError(f"--body is no JSON: {error}") from error
    if not isinstance(value, dict):
        raise UsageError("--body is a JSON object, as Pyrus's requests are")
    return value


@asynccontextmanager
async def calling(bot: BotConfig, host: HostConfig) -> AsyncIterator[Pyrus]:
    """Yield Pyrus as this bot, with connections of its own."""
    from bothost.cli.doctor_checks import NoSharedLimits
    from bothost.host.assembly import network_of
    from bothost.pipeline.assembly import pyrus_of_bot
    from bothost.pyrus_client.client import PyrusClient
    from bothost.pyrus_client.http_transport import HttpTransport

    clock = SystemClock()
    client = PyrusClient(clock, NoSharedLimits(), HttpTransport(network_of(host)), user_agent=f"bothost/{__version__}")
    try:
        yield pyrus_of_bot(client, bot)
    finally:
        await client.close()


@asynccontextmanager
async def prompt_names(bot: BotConfig, host: HostConfig) -> AsyncIterator[tuple[dict[str, Any], list[str]]]:
    """Yield the names of a prompt, and a line about each. A bot without a login, or without a journal yet, has fewer."""
    from bothost.journal.data import JournalData
    from bothost.plugins.store import Store

    clock = SystemClock()
    async with AsyncExitStack() as stack:
        pyrus = await stack.enter_async_context(calling(bot, host))
        names: dict[str, Any] = {"pyrus": pyrus}
        asks = f"asks {bot.api_url or 'Pyrus'} as {bot.login}: pyrus.task(5).wait()"
        told = ["pyrus " + (asks if bot.login else f"asks nobody: [bot:{bot.name}] has no login")]
        try:
            journal = await stack.enter_async_context(visiting(host))
        except BothostError as error:
            told.append(f"there is no store: {error}")
        else:
            names["store"] = Store(JournalData(journal, bot.name, clock), clock)
            told.append(f'store holds what {bot.name} keeps: store.get("key").wait()')
        yield names, told


@contextmanager
def held_from_here(opened: AbstractAsyncContextManager[T]) -> Iterator[T]:
    """Yield the value of an async context manager to plain code. A loop in a thread of its own holds the manager."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        yield asyncio.run_coroutine_threadsafe(opened.__aenter__(), loop).result()
    finally:
        asyncio.run_coroutine_threadsafe(opened.__aexit__(None, None, None), loop).result(5)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(5)
        loop.close()
