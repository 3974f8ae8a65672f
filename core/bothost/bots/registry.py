"""A bot in service and the registry: immutable path → bot, replaced whole on reload."""

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

Word = Literal["starting", "active", "off", "config error", "plugin error", "stuck", "quarantined", "paused"]


@dataclass(frozen=True, slots=True)
class BotState:
    """How a bot is, why, and since when (epoch seconds)."""

    word: Word
    reason: str = ""
    since: float = 0.0

    @property
    def serves(self) -> bool:
        """Whether its events may run now; a starting bot lets them wait."""
        return self.word == "active"

    @property
    def broken(self) -> bool:
        """Whether a delivery is answered 503 while attempts are left, and parked at the last one."""
        return self.word in ("config error", "plugin error", "stuck", "quarantined", "paused")


@dataclass(slots=True, eq=False)
class Bot:
    """One `[bot:NAME]` in service. `config`, `plugged`, `runner` belong to one load; `lane` outlives reloads."""

    config: BotConfig
    queue: BotQueue
    state: BotState = field(default_factory=lambda: BotState("starting"))
    plugged: LoadedPlugin | None = None
    runner: Runner | None = None
    user_id: int | None = None
    """The bot's person id, as bodies last showed it."""
    login: str = ""
    """The login that calls of its own use: set in bots.ini, or learnt from bodies."""
    busy: int = 0
    """Runs of this instance that have not really ended."""
    old_secret_at: datetime | None = None
    """When a delivery was last signed with the old secret."""
    verifier: Verifier | None = field(init=False, repr=False)
    """Made once from the secrets, for to begin a verification is then a copy. None: the section is broken and has none."""

    def __post_init__(self) -> None:
        self.verifier = Verifier(self.config.secrets) if self.config.secrets else None

    @property
    def name(self) -> str:
        """The section's name: it stands in keys, file names, metrics and URLs."""
        return self.config.name


class Registry:
    """The bots of one configuration by path and by name; look-up costs the same for one bot and ten thousand."""

    __slots__ = ("by_name", "by_path")

    def __init__(self, bots: Iterable[Bot] = ()) -> None:
        self.by_name: Mapping[str, Bot] = MappingProxyType({bot.name: bot for bot in bots})
        self.by_path: Mapping[str, Bot] = MappingProxyType(
            {path: bot for bot in self.by_name.values() for path in (bot.config.path, bot.config.path + "/")}
        )


class Service:
    """What is in service at this moment: the one cell that a reload swaps."""

    __slots__ = ("registry",)

    def __init__(self, registry: Registry) -> None:
        self.registry = registry

    def find(self, name: str) -> Bot | None:
        """The bot of a name."""
        return self.registry.by_name.get(name)

    def present(self) -> Registry:
        """The registry of this moment."""
        return self.registry

    def __iter__(self) -> Iterator[Bot]:
        return iter(self.registry.by_name.values())
