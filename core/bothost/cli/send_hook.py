"""`send --hook`: a request to a bot's hook, signed by the hook's guard."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from bothost.cli.bot_status import judge
from bothost.cli.http_delivery import DeliveryTarget, SentRequest, request
from bothost.cli.output import laid_out, say, show_data, show_json
from bothost.errors import UsageError
from bothost.plugins.guards import FunctionGuard, credentials
from bothost.text import nearest

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bothost.clock import Clock
    from bothost.config import ConfigReading
    from bothost.plugins.hook_methods import HookRule


def rule_of(bot: str, hook: str, reading: ConfigReading, config: str) -> HookRule:
    """Return the hook of a bot's plugin, which is loaded for it. Raises UsageError if there is none."""
    judged = next(one for one in judge(reading, Path(config).absolute().parent) if one.config.name == bot)
    if judged.plugged is None:
        raise UsageError(f"[bot:{bot}] cannot be loaded, so its hooks are not known: {judged.reason}")
    names = [spec.rule.name for spec in judged.plugged.hooks]
    found = judged.plugged.hook(hook)
    if found is None:
        raise UsageError(
            f"[bot:{bot}] has no hook {hook!r}{nearest(hook, names)} (it has: {', '.join(names) or 'none'})"
        )
    return found.rule


def send_to_hook(target: DeliveryTarget, path: str, rule: HookRule, body: bytes, clock: Clock) -> dict[str, Any]:
    """Make the request and return its answer as a row for a program."""
    headers, query = credentials(rule.guard, body, clock.epoch())
    content = {"Content-Type": "application/json"} if body else {}
    wanted = SentRequest(rule.methods[0], f"{path}/{rule.name}", query, {**content, **headers}, body)
    answer = request(target, wanted, clock)
    return {"status": answer.status, "reply": answer.reply, "ms": round(answer.seconds * 1000, 1)}


def tell(row: Mapping[str, Any], rule: HookRule, *, as_json: bool) -> None:
    """Show the answer."""
    if as_json:
        show_json(row)
        return
    hint = ""
    if row["status"] == 403 and isinstance(rule.guard, FunctionGuard):
        hint = " (its guard is a function of the plugin, which nobody outside can satisfy: give its headers by curl)"
    say(f"{row['status']} in {row['ms']:.0f} ms{hint}")
    show_data(laid_out(row["reply"]))
