"""`check --forms`: compare the fields that plugins name, and the forms of `@on`, with the real forms in Pyrus."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from bothost import __version__
from bothost.cli.bot_status import forms_of_handlers
from bothost.cli.doctor_checks import NoSharedLimits
from bothost.clock import SystemClock
from bothost.errors import CallError, FieldError, Problem
from bothost.plugins.settings.field_names import field_names
from bothost.pyrus.model.lookup import NameIndex, missing
from bothost.pyrus.rest import requests, results

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from bothost.cli.bot_status import BotDiagnosis
    from bothost.config import BotConfig, HostConfig
    from bothost.pyrus.rest.forms import Form
    from bothost.pyrus_client.client import PyrusClient


def form_problems(bots: Sequence[BotDiagnosis], host: HostConfig | None) -> list[Problem]:
    """Ask Pyrus for the forms of each bot that is right and has a login, and return what does not fit."""
    return asyncio.run(_all(bots, host))


async def _all(bots: Sequence[BotDiagnosis], host: HostConfig | None) -> list[Problem]:
    from bothost.host.assembly import network_of
    from bothost.pyrus_client.client import PyrusClient
    from bothost.pyrus_client.http_transport import HttpTransport

    transport = HttpTransport(network_of(host) if host is not None else None)
    client = PyrusClient(SystemClock(), NoSharedLimits(), transport, user_agent=f"bothost/{__version__}")
    try:
        return [problem for bot in bots if not bot.problems for problem in await _of_bot(bot, client)]
    finally:
        await client.close()


async def _of_bot(bot: BotDiagnosis, client: PyrusClient) -> list[Problem]:
    config = bot.config
    names = field_names(bot.plugged.settings) if bot.plugged is not None and bot.plugged.settings is not None else {}
    wanted = forms_of(bot)
    if not wanted:
        text = "nothing says which form its fields are of: set forms, or use @on(form=)"
        return [_problem(config, text, key) for key in names]
    if not config.login:
        return [_problem(config, "--forms needs a login, by which Pyrus is asked for the forms", "login")]
    forms: dict[int, Form] = {}
    problems = []
    for form_id in sorted(wanted):
        try:
            forms[form_id] = await _form(config, form_id, client)
        except CallError as error:
            problems.append(_problem(config, f"the form {form_id} cannot be read: {error}", "forms"))
    return problems or list(_unknown(config, names, forms))


def forms_of(bot: BotDiagnosis) -> frozenset[int]:
    """Return the forms that a bot's section and its plugin's `@on(form=)` name."""
    return bot.config.forms | forms_of_handlers(bot)


async def _form(config: BotConfig, form_id: int, client: PyrusClient) -> Form:
    from bothost.pipeline.assembly import caller_of
    from bothost.pyrus_client.session import PyrusSession, SessionTerms

    answer = await PyrusSession(client, caller_of(config), SessionTerms()).send(requests.form(form_id))
    return results.form(answer.body)


def _unknown(config: BotConfig, names: Mapping[str, tuple[str, ...]], forms: Mapping[int, Form]) -> Iterator[Problem]:
    """Yield a problem for each name that is in none of the bot's forms."""
    fields = [NameIndex(form.fields) for form in forms.values()]
    every = [field for index in fields for field in index.things]
    shown = ", ".join(f"{form.name!r} ({form_id})" for form_id, form in forms.items())
    for key, wanted in names.items():
        for name in wanted:
            try:
                if not any(index.find(name) for index in fields):
                    yield _problem(config, str(missing(name, every, f"the form {shown}")), key)
            except FieldError as error:
                yield _problem(config, f"the form {shown}: {error}", key)


def _problem(config: BotConfig, text: str, key: str) -> Problem:
    return Problem(text, config.file, config.lines.get(key, config.line), f"bot:{config.name}", key)
