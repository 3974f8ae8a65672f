"""Define a bot in service, and the immutable registry that maps paths and names to bots."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal

from bothost.pyrus.signature import Verifier

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from datetime import datetime

    from bothost.bots.queue import BotQueue
    from bothost.config import BotConfig
    from bothost.plugins.loading import LoadedPlugin
    from bothost.runners import Runner

Word = Literal[
    "starting", "active", "off", "config error", "plugin error", "stuck", "quarantined", "paused", "elsewhere"
]

BROKEN = frozenset(["config error", "plugin error", "stuck", "quarantined", "paused"])


@dataclass(frozen=True, slots=True)
class BotState:
    """The state of a bot, the reason, and since when (epoch seconds)."""

    word: Word
    reason: str = ""
    since: float = 0.0
    trace: str = ""
    """The traceback of the plugin, where an exception of its own is the reason."""
    broken: bool = field(init=False, compare=False)
    """True if a delivery is answered 503 while attempts are left, and parked at the last one."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "broken", self.word in BROKEN)

    @property
    def serves(self) -> bool:
        """Return whether events may run now. A starting bot lets them wait."""
        return self.word == "active"


@dataclass(slots=True, eq=False)
class Bot:
    """One `[bot:NAME]` in service. `config`, `plugged` and `runner` belong to one load; `queue` outlives reloads."""

    config: BotConfig
    queue: BotQueue
    state: BotState = field(default_factory=lambda: BotState("starting"))
    plugged: LoadedPlugin | None = None
    runner: Runner | None = None
    user_id: int | None = None
    """The bot's person id, as bodies last showed it."""
    login: str = ""
    """The login of the bot's own calls: set in bots.ini, or learnt from bodies."""
    busy: int = 0
    """Runs of this instance that have not really ended."""
    old_secret_at: datetime | None = None
    """The time of the last delivery that was signed with the old secret."""
    name: str = field(init=False)
    """The section's name, which stands in keys, file names, metrics and URLs."""
    verifier: Verifier | None = field(init=False, repr=False)
    """Made once from the secrets, because beginning a verification is then a copy. None if a broken section has none."""

    def __post_init__(self) -> None:
        self.name = self.config.name
        self.verifier = Verifier(self.config.secrets) if self.config.secrets else None

    @property
    def version(self) -> str:
        """Return the version of the plugin in service in this process; "" if none is loaded."""
        return self.plugged.version if self.plugged is not None else ""

    @property
    def can_log_in(self) -> bool:
        """Return whether its calls can get a token of their own: a login is set or learnt.

        Without one, a reply can be posted only by the process that holds the event's token.
        """
        return bool(self.config.login or self.login)


class Registry:
    """The bots of one configuration by path and by name. A bot that only polls has no path.

    A look-up takes the same time with one bot and with ten thousand.
    """

    __slots__ = ("by_name", "by_path")

    def __init__(self, bots: Iterable[Bot] = ()) -> None:
        self.by_name: Mapping[str, Bot] = MappingProxyType({bot.name: bot for bot in bots})
        self.by_path: Mapping[str, Bot] = MappingProxyType(
            {
                path: bot
                for bot in self.by_name.values()
                if bot.config.receive != "poll"
                for path in (bot.config.path, bot.config.path + "/")
            }
        )


class Service:
    """Holds the registry in service. A reload swaps it as a whole."""

    __slots__ = ("registry",)

    def __init__(self, registry: Registry) -> None:
        self.registry = registry

    def find(self, name: str) -> Bot | None:
        """Return the bot of a name, or None."""
        return self.registry.by_name.get(name)

    def present(self) -> Registry:
        """Return the registry of this moment."""
        return self.registry

    def __iter__(self) -> Iterator[Bot]:
        return iter(self.registry.by_name.values())
