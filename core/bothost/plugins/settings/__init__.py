"""Fill a plugin's settings: a typed class, read from the bot's section of bots.ini.

The base class `Settings` lives here, with the readers of its types beside it. Nothing here may read bots.ini itself, import a
plugin or hold a list of the host's keys. Start reading at `fill`, then in `reading.py`, which reads one value.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar, dataclass_transform

import msgspec

from bothost.errors import ConfigError, PluginError, Problem
from bothost.plugins.settings.limits import UnsupportedSetting
from bothost.plugins.settings.reading import Secret, read
from bothost.text import nearest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bothost.config.secrets import SecretSources

__all__ = ["Secret", "Settings", "SettingsSource", "fill", "secrets_of"]


class _SettingsMeta(msgspec.StructMeta):
    def __new__(mcs, name: str, bases: tuple[type, ...], namespace: dict[str, Any], **config: Any) -> Any:
        config = {"kw_only": True, "frozen": True, "forbid_unknown_fields": True, **config}
        try:
            return super().__new__(mcs, name, bases, namespace, **config)
        except TypeError as error:
            if "mutable" in str(error) or "default value" in str(error).lower():
                raise TypeError(f"{name}: {error}; for a default use a tuple instead of a list") from error
            raise


@dataclass_transform(frozen_default=True, kw_only_default=True, field_specifiers=(msgspec.field,))
class Settings(msgspec.Struct, metaclass=_SettingsMeta, frozen=True):
    """Base of a plugin's settings. Each annotated name is a key of the bot's section; one without a default must be there.

    Types: str, int, float, Decimal, bool, timedelta, time, date, Enum, Literal, list, tuple, set and dict of these,
    `T | None`, Path, Secret, a type with a classmethod `parse(text)`; limits by `Annotated[…, msgspec.Meta(ge=…)]`.
    """


S = TypeVar("S", bound=Settings)


@dataclass(frozen=True, slots=True)
class SettingsSource:
    """Says in messages where the texts stand; `plugin` names the plugin whose settings they are."""

    plugin: str
    section: str = ""
    file: str = ""
    lines: Mapping[str, int] = field(default_factory=dict)
    line: int = 0

    def problem(self, key: str, text: str) -> Problem:
        """Return an error at a key, or at the section's head if the key is missing."""
        return Problem(text, self.file, self.lines.get(key, self.line), self.section, key)


def secrets_of(settings: Settings | None) -> list[str]:
    """Return every secret that the settings hold, also in lists and dicts."""
    found = [] if settings is None else [getattr(settings, name) for name in settings.__struct_fields__]
    return [secret.reveal() for value in found for secret in _secrets_in(value)]


def _secrets_in(value: object) -> Iterator[Secret]:
    if isinstance(value, Secret):
        yield value
    elif isinstance(value, Mapping):
        for one in (*value, *value.values()):
            yield from _secrets_in(one)
    elif isinstance(value, list | tuple | set | frozenset):
        for one in value:
            yield from _secrets_in(one)


def keys(cls: type[Settings]) -> tuple[str, ...]:
    """Return the keys of the section that the class declares. Raises PluginError if its types cannot be read."""
    return tuple(one.encode_name for one in _fields(cls))


def fill(
    cls: type[S],
    values: Mapping[str, object],
    place: SettingsSource,
    sources: SecretSources,
    host_keys: frozenset[str] = frozenset(),
) -> S:
    """Return the settings of a section. Raises ConfigError with all that is wrong in it, and PluginError for the class itself.

    `host_keys` are named as near matches too: a slip in a key of the host's lands among the plugin's settings.
    """
    known = {one.encode_name: one for one in _fields(cls)}
    for one in known.values():
        _check_default(cls, one, sources)
    found: dict[str, Any] = {}
    problems = []
    for key, value in values.items():
        if key not in known:
            why = _untyped(cls, key) or _unknown(key, place.plugin, [*known, *host_keys])
            problems.append(place.problem(key, why))
            continue
        try:
            found[known[key].name] = read(value, known[key].type, sources)
        except UnsupportedSetting as error:
            raise PluginError(f"the plugin {place.plugin!r}: setting {key!r}: {error}") from None
        except ValueError as error:
            problems.append(place.problem(key, str(error)))
    problems += [
        place.problem(key, f"is missing: the plugin {place.plugin!r} needs this setting")
        for key, one in known.items()
        if one.required and key not in values
    ]
    if problems:
        raise ConfigError(tuple(problems))
    return _made(cls, found, place)


def no_settings(values: Mapping[str, object], place: SettingsSource, host_keys: frozenset[str] = frozenset()) -> None:
    """Check the section of a plugin without settings. Raises ConfigError if the section holds any."""
    if values:
        raise ConfigError(tuple(place.problem(key, _unknown(key, place.plugin, host_keys)) for key in values))


def _unknown(key: str, plugin: str, known: Any) -> str:
    return f"no such key, and no setting of the plugin {plugin!r}{nearest(key, known)}"


def _untyped(cls: type[Settings], key: str) -> str:
    """Return what to write where the class has this name without a type, so that it is no setting; "" where it has not."""
    value = next((vars(base)[key] for base in cls.__mro__ if base not in Settings.__mro__ and key in vars(base)), None)
    if value is None or key.startswith("_") or callable(value) or hasattr(value, "__get__"):
        return ""
    kind = type(value).__name__
    return f"{cls.__qualname__} gives {key} no type, so it is no setting: write {key}: {kind} = {value!r:.40}"


def _check_default(cls: type[Settings], one: msgspec.structs.FieldInfo, sources: SecretSources) -> None:
    """Raise PluginError for a text as the default of another type: bots.ini's texts are read, a default stays what it is."""
    if not isinstance(one.default, str):
        return
    try:
        meant = type(read(one.default, one.type, sources))
    except UnsupportedSetting:
        return  # it is told of when a value is read
    except ValueError as error:
        raise PluginError(f"{cls.__qualname__}.{one.name} has a default that does not fit: {error}") from None
    if meant is not str and not isinstance(one.default, meant):
        kind = meant.__name__.removeprefix("Posix")
        raise PluginError(f"{cls.__qualname__}.{one.name} has a text for its default: write a {kind}")


def _fields(cls: type[Settings]) -> tuple[msgspec.structs.FieldInfo, ...]:
    try:
        return msgspec.structs.fields(cls)
    except (NameError, TypeError) as error:
        raise PluginError(
            f"the types of {cls.__module__}.{cls.__qualname__} cannot be read: {error}; "
            "they must be importable when the plugin runs, not only for the type checker"
        ) from error


def _made(cls: type[S], found: dict[str, Any], place: SettingsSource) -> S:
    try:
        return cls(**found)
    except (ValueError, TypeError) as error:  # what the class's own __post_init__ finds wrong
        raise ConfigError((place.problem("", str(error)),)) from error
