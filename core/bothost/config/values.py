"""Hold the content of bots.ini as frozen values. No `repr` shows a secret."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Literal

from bothost.config.secrets import fingerprint

if TYPE_CHECKING:
    from collections.abc import Mapping
    from ipaddress import IPv4Network, IPv6Network
    from pathlib import Path

    from bothost.config.secrets import SecretText
    from bothost.errors import Problem

LogLevel = Literal["debug", "info", "warning", "error"]


@dataclass(frozen=True, slots=True, kw_only=True)
class HostConfig:
    """`[host]`: listeners, limits, state. Paths are absolute."""

    path: Path
    """The bots.ini itself."""
    state: Path
    address: str = "127.0.0.1"
    port: int = 8080
    """0 stands for any free port."""
    port_from_env: bool = False
    """True if PORT was given. Then a platform's router stands in front, and it cuts requests at 30 s."""
    unix_socket: Path | None = None
    journal: str = field(default="", repr=False)
    """A PostgreSQL DSN (it may hold a password), or "" for the embedded journal."""
    operator_address: str = "127.0.0.1"
    operator_port: int = 8081
    """0 stands for no page."""
    operator_token: SecretText | None = None
    operator_read_token: SecretText | None = None
    operator_hosts: tuple[str, ...] = ()
    metrics_open: bool = False
    processes: int = 1
    log: Literal["auto", "pretty", "json"] = "auto"
    log_level: LogLevel = "info"
    drain_s: float = 50.0
    xheaders: bool = False
    trusted_proxies: tuple[IPv4Network | IPv6Network, ...] = ()
    certfile: Path | None = None
    keyfile: Path | None = None
    max_connections: int | None = None
    """None stands for the limit of open files less 200."""
    header_timeout_s: float = 10.0
    body_timeout_s: float = 60.0
    idle_timeout_s: float = 75.0
    public_url: str = ""
    public_path: str = ""
    """The path under which a proxy shows the operator's page, such as /bothost; "" for the root."""
    on_failure: str = ""
    on_trouble: str = ""
    proxy: str = field(default="", repr=False)
    """The proxy for calls to Pyrus (it may hold a password), or "" for the one that the environment names."""
    no_proxy: str = ""
    ca_file: Path | None = None
    """The certificates that are trusted beside the system's."""


@dataclass(frozen=True, slots=True)
class AccountConfig:
    """One `[account:NAME]`: an account's login and its security key."""

    name: str
    login: str
    keys: tuple[bytes, ...] = field(repr=False)
    api_url: str = ""


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class BotConfig:
    """One `[bot:NAME]` with the defaults of `[bot]` filled in."""

    name: str
    plugin: str = ""
    path: str = ""
    """Decoded, without a slash at its end; requests may have one."""
    secrets: tuple[bytes, ...] = ()
    """The secret, then the old one if there is one. Empty only in `ConfigReading.stubs`."""
    login: str = ""
    api_url: str = ""
    """"" or a URL that ends with a slash."""
    enabled: bool = True
    run: Literal["auto", "loop", "thread", "process"] = "auto"
    concurrency: int = 0
    """The runs at a time in all processes that work on the journal; 0: not counted together."""
    concurrency_each: int = 0
    """The runs at a time in each process; 0: not set."""
    overlap: bool = True
    """If false, a reload closes the old instance of the plugin before the new one opens."""
    per_host: Literal["all", "one"] = "all"
    """one: only one process of a host opens the plugin, and the others hand it what they get."""
    order: Literal["task", "none"] = "task"
    receive: Literal["webhook", "poll", "both"] = "webhook"
    poll_every_s: float = 30.0
    catch_up: Literal["no", "inbox", "forms"] = "no"
    catch_up_for_s: float = 259_200.0
    answer_within_s: float = 50.0
    late: Literal["post", "retry"] = "post"
    timeout_s: float = 900.0
    on_error: Literal["retry", "ignore", "reply"] = "retry"
    error_text: str = ""
    error_choice: str = ""
    own_comments: Literal["skip", "deliver"] = "skip"
    forms: frozenset[int] = frozenset()
    """Empty stands for all forms."""
    max_body_bytes: int = 16 << 20
    keep_s: float = 604800.0
    memory_bytes: int = 0
    """The largest address space of the bot's child; 0 stands for no limit."""
    account_names: tuple[str, ...] = ()
    accounts: tuple[AccountConfig, ...] = ()
    """The accounts that its plugin may call as, beside its own."""
    settings: Mapping[str, str] = field(default_factory=dict)
    """The plugin's own keys as raw texts; env: and file: are not resolved here."""
    settings_digest: str = ""
    """A digest of the values behind env: and file: in the settings."""
    lines: Mapping[str, int] = field(default_factory=dict)
    """The line of each key of the section."""
    line: int = 0
    file: str = ""
    env_names: frozenset[str] = frozenset()
    """Every environment variable that bots.ini names, for any bot. A child gets none of them."""

    @property
    def permits(self) -> int:
        """Return how many runs one process may have at a time.

        A bot with a process of its own has one unless told otherwise: a run past its time ends the whole child and every other
        run in it.
        """
        told = [number for number in (self.concurrency, self.concurrency_each) if number]
        return min(told, default=1 if self.run == "process" else 8)

    @property
    def fingerprint(self) -> str:
        """Return the fingerprint of the current secret, or "" without one."""
        return fingerprint(self.secrets[0]) if self.secrets else ""

    @property
    def fingerprints(self) -> tuple[str, ...]:
        """Return the fingerprints of all secrets, the current one first."""
        return tuple(fingerprint(secret) for secret in self.secrets)

    def __repr__(self) -> str:
        return f"BotConfig({self.name!r}, plugin={self.plugin!r}, path={self.path!r}, secret=<{self.fingerprint}>)"

    def differs(self, other: BotConfig) -> tuple[str, ...]:
        """Return the names of the fields in which two readings of one bot differ. Its position in the file does not count."""
        skipped = ("lines", "line", "file", "env_names")
        names = (one.name for one in fields(self) if one.name not in skipped)
        return tuple(name for name in names if getattr(self, name) != getattr(other, name))


@dataclass(frozen=True, slots=True)
class Config:
    """A bots.ini that has no error."""

    host: HostConfig
    bots: Mapping[str, BotConfig]
    warnings: tuple[Problem, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigReading:
    """A bots.ini as far as it could be read: the good sections, and every problem."""

    host: HostConfig | None
    """None if [host] is wrong."""
    bots: Mapping[str, BotConfig]
    stubs: Mapping[str, BotConfig]
    """The readable part of each broken bot, so that its path can answer 503. A stub is never run."""
    broken: Mapping[str, tuple[Problem, ...]]
    problems: tuple[Problem, ...]
    """The problems of the file, [host] and [bot]."""
    warnings: tuple[Problem, ...]
    digest: str
    """Changes whenever the file or a file behind file: changes."""
    files: frozenset[Path]
    """Every file that a file: may lead to, present or not."""
    sections: int
    found: bool
    """False if the file is missing, unreadable or writable by everybody."""
    unread: str = ""
    """The reason if `found` is false."""
    accounts: Mapping[str, AccountConfig] = field(default_factory=dict)
    """The `[account:NAME]` sections that are right."""
    ends: bool = True
    """True if the last line is complete. A file whose writing was cut off mostly ends within a line."""

    def all_problems(self) -> tuple[Problem, ...]:
        """Return every error in the order of the lines."""
        every = [*self.problems, *(problem for those in self.broken.values() for problem in those)]
        return tuple(sorted(every, key=lambda problem: problem.line))
