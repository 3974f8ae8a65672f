"""What bots.ini says, as frozen values; no `repr` shows a secret."""

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


@dataclass(frozen=True, slots=True, kw_only=True)
class HostConfig:
    """`[host]`: listeners, limits, state. Paths are absolute."""

    path: Path
    """The bots.ini itself."""
    state: Path
    address: str = "127.0.0.1"
    port: int = 8080
    """0: any free one."""
    port_from_env: bool = False
    """PORT was given: a platform's router stands in front, and cuts at 30 s."""
    unix_socket: Path | None = None
    journal: str = field(default="", repr=False)
    """A PostgreSQL DSN (it may hold a password), or "" for the embedded journal."""
    operator_address: str = "127.0.0.1"
    operator_port: int = 8081
    """0: no page."""
    operator_token: SecretText | None = None
    operator_read_token: SecretText | None = None
    operator_hosts: tuple[str, ...] = ()
    metrics_open: bool = False
    processes: int = 1
    log: Literal["auto", "pretty", "json"] = "auto"
    drain_s: float = 50.0
    xheaders: bool = False
    trusted_proxies: tuple[IPv4Network | IPv6Network, ...] = ()
    certfile: Path | None = None
    keyfile: Path | None = None
    max_connections: int | None = None
    """None: the file limit less 200."""
    header_timeout_s: float = 10.0
    body_timeout_s: float = 60.0
    idle_timeout_s: float = 75.0
    public_url: str = ""
    on_failure: str = ""


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class BotConfig:
    """One `[bot:NAME]` with the defaults of `[bot]` filled in."""

    name: str
    plugin: str = ""
    path: str = ""
    """Decoded, without a slash at its end; requests may have one."""
    secrets: tuple[bytes, ...] = ()
    """The secret, then the old one where there is one. Empty only in `ConfigReading.stubs`."""
    login: str = ""
    api_url: str = ""
    """"" or a URL that ends with a slash."""
    enabled: bool = True
    run: Literal["auto", "loop", "thread", "process"] = "auto"
    concurrency: int = 8
    order: Literal["task", "none"] = "task"
    answer_within_s: float = 50.0
    late: Literal["post", "retry"] = "post"
    timeout_s: float = 900.0
    on_error: Literal["retry", "ignore", "reply"] = "retry"
    error_text: str = ""
    error_choice: str = ""
    own_comments: Literal["skip", "deliver"] = "skip"
    forms: frozenset[int] = frozenset()
    """Empty: all forms."""
    max_body_bytes: int = 16 << 20
    keep_s: float = 604800.0
    memory_bytes: int = 0
    """Address space of the bot's child; 0: no limit."""
    settings: Mapping[str, str] = field(default_factory=dict)
    """The plugin's own keys as raw texts; env: and file: are not resolved here."""
    settings_digest: str = ""
    """Of what env: and file: in the settings lead to."""
    lines: Mapping[str, int] = field(default_factory=dict)
    """Where each key of the section stands."""
    line: int = 0
    file: str = ""
    env_names: frozenset[str] = frozenset()
    """Every environment variable that bots.ini names, for this bot or another: a child gets none of them."""

    @property
    def fingerprint(self) -> str:
        """The current secret's; "" without one."""
        return fingerprint(self.secrets[0]) if self.secrets else ""

    @property
    def fingerprints(self) -> tuple[str, ...]:
        """Of all secrets, the current one first."""
        return tuple(fingerprint(secret) for secret in self.secrets)

    def __repr__(self) -> str:
        return f"BotConfig({self.name!r}, plugin={self.plugin!r}, path={self.path!r}, secret=<{self.fingerprint}>)"

    def differs(self, other: BotConfig) -> tuple[str, ...]:
        """The names of the fields in which two loads of one bot differ, where it stands in the file left aside."""
        skipped = ("lines", "line", "file", "env_names")
        names = (one.name for one in fields(self) if one.name not in skipped)
        return tuple(name for name in names if getattr(self, name) != getattr(other, name))


@dataclass(frozen=True, slots=True)
class Config:
    """A bots.ini without an error."""

    host: HostConfig
    bots: Mapping[str, BotConfig]
    warnings: tuple[Problem, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigReading:
    """A bots.ini as far as it could be read: the good sections, and all that is wrong."""

    host: HostConfig | None
    """None where [host] is wrong."""
    bots: Mapping[str, BotConfig]
    stubs: Mapping[str, BotConfig]
    """For each broken bot what could be read of it, so that its path can answer 503; never run one."""
    broken: Mapping[str, tuple[Problem, ...]]
    problems: tuple[Problem, ...]
    """Of the file, [host] and [bot]."""
    warnings: tuple[Problem, ...]
    digest: str
    """Changes with what the file and every file: it names hold."""
    files: frozenset[Path]
    """Every file that a file: may lead to."""
    sections: int
    found: bool
    """Whether the file was there and could be read."""

    def all_problems(self) -> tuple[Problem, ...]:
        """Every error, in the order of the lines."""
        every = [*self.problems, *(problem for those in self.broken.values() for problem in those)]
        return tuple(sorted(every, key=lambda problem: problem.line))
