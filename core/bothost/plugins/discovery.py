"""Find installed plugins, the entry points of the group `bothost.plugins`, without importing any."""

from __future__ import annotations

import os
import re
import stat
from dataclasses import dataclass, field
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Any

from bothost.errors import PluginError
from bothost.text import listed, nearest, said

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

GROUP = "bothost.plugins"
LARGEST_BYTES = {"METADATA": 4 << 20, "PKG-INFO": 4 << 20, "entry_points.txt": 64 << 10}
"""The largest metadata that are read. Thousands of entry points take seconds; real packages have some dozens."""


@dataclass(frozen=True, slots=True)
class DiscoveredPlugin:
    """A plugin that can be loaded. `rivals` are further distributions that offer the same name: then none is taken."""

    name: str
    load: Callable[[], Any] = field(repr=False)
    distribution: str = ""
    version: str = ""
    target: str = ""
    """The target of the entry point, `package.module:object`."""
    rivals: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class InstalledPlugins:
    """The plugins that installed distributions offer, by name in the order of their names."""

    by_name: dict[str, DiscoveredPlugin]
    unreadable: tuple[str, ...] = ()
    """One line for each distribution, of whatever program, whose metadata cannot be read: its plugins are left out."""


def find(group: str = GROUP) -> dict[str, DiscoveredPlugin]:
    """Return all installed plugins by name, in the order of their names."""
    return survey(group).by_name


def newer_than(running: Mapping[str, str]) -> dict[str, str]:
    """Return the installed versions of those plugins that run in another version. Reads the disk."""
    installed = {found.name: found.version for found in find().values()}
    return {
        name: installed[name]
        for name, version in running.items()
        if version and installed.get(name, version) != version
    }


def upgrade_note(installed: str, running: str) -> str:
    """Say that a restart takes up an installed version. It is said in these words everywhere."""
    return f"installed {installed}, running {running}: restart"


def survey(group: str = GROUP) -> InstalledPlugins:
    """Look at every installed distribution. One that is malformed is skipped and named."""
    found: dict[str, DiscoveredPlugin] = {}
    unreadable: list[str] = []
    offers = []
    for distribution in _first_of_each_name(unreadable):
        try:
            offers += _offers(distribution, group)
        except Exception as error:  # noqa: BLE001 - whatever its files hold, it must not keep the others out
            unreadable.append(_unreadable(distribution, error))
    for offered in sorted(offers, key=lambda one: one.name):
        found[offered.name] = _beside(found.get(offered.name), offered)
    return InstalledPlugins(found, tuple(sorted(unreadable)))


def _first_of_each_name(unreadable: list[str]) -> Iterator[Any]:
    """Yield the distributions that count: of several with one name the first on the path, as an import would take it."""
    from importlib_metadata import distributions

    known: set[str] = set()
    found = iter(distributions())
    while True:
        try:
            distribution = next(found, None)
        except Exception as error:  # noqa: BLE001 - a broken entry of the path, or another program's finder
            unreadable.append(f"the path of installed packages cannot be read to its end: {said(error)}")
            return
        if distribution is None:
            return
        if why := _unsound(distribution):
            unreadable.append(why)
            continue
        name = re.sub(r"[-_.]+", "-", _name(distribution)).lower()
        if name not in known:
            known.add(name)
            yield distribution


def _unsound(distribution: Any) -> str:
    """Say which metadata of a distribution may not even be opened, as a pipe would wait for ever; "" if all may."""
    for name, most in LARGEST_BYTES.items():
        try:
            found = os.stat(f"{_folder(distribution)}/{name}")
        except (OSError, ValueError):  # no such file, or no folder
            continue
        if not stat.S_ISREG(found.st_mode) or found.st_size > most:
            what = f"has {found.st_size} bytes" if stat.S_ISREG(found.st_mode) else "is no file"
            return _skipped(_folder_name(distribution), _folder(distribution), f"its {name} {what}")
    return ""


def _offers(distribution: Any, group: str) -> list[DiscoveredPlugin]:
    points = list(distribution.entry_points)
    if points and distribution.metadata is None:
        raise ValueError("it has no METADATA")
    wanted = [point for point in points if point.group == group]
    return [
        DiscoveredPlugin(
            point.name, partial(load_point, point), distribution.name, distribution.version or "", point.value
        )
        for point in wanted
    ]


def load_point(point: Any) -> Any:
    """Import what an entry point names. Raises PluginError if it is not there, and whatever the import raises.

    This is not the point's own `load`, because that tells neither what is there nor that the installed metadata is read.
    """
    try:
        found = import_module(point.module)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{point.module}.".startswith(f"{error.name}."):
            raise  # an import of the plugin's own
        raise PluginError(f"there is no module {error.name!r}{_EDIT.format(point.group)}") from error
    for name in (point.attr or "").split(".") if point.attr else ():
        if not hasattr(found, name):
            there = [one for one, value in vars(found).items() if getattr(value, "__module__", "") == point.module]
            known = f" (there are: {listed(there)})" if there else ""
            what = getattr(found, "__name__", found)
            raise PluginError(f"{what} has no {name!r}{nearest(name, there)}{known}{_EDIT.format(point.group)}")
        found = getattr(found, name)
    return found


_EDIT = (
    ': write what is there into [project.entry-points."{}"] of its pyproject.toml, and run `pip install -e .` again, '
    "because entry points are read from the installed metadata"
)


def _name(distribution: Any) -> str:
    """Return a distribution's name: from its metadata, else from the name of its folder."""
    try:
        name = distribution.metadata["Name"] if distribution.metadata is not None else None
    except Exception:  # noqa: BLE001 - metadata that is missing or not UTF-8
        name = None
    return str(name or _folder_name(distribution))


def _folder_name(distribution: Any) -> str:
    return _folder(distribution).rpartition("/")[2].partition("-")[0] or "unknown"


def _folder(distribution: Any) -> str:
    return str(getattr(distribution, "_path", ""))


def _unreadable(distribution: Any, error: Exception) -> str:
    return _skipped(_name(distribution), _folder(distribution), said(error))


def _skipped(name: str, folder: str, why: str) -> str:
    place = f" ({folder})" if folder else ""
    return (
        f"the installed package {name!r}{place} is malformed and was skipped: {why}; reinstall it or remove that folder"
    )


def _beside(known: DiscoveredPlugin | None, offered: DiscoveredPlugin) -> DiscoveredPlugin:
    if known is None or (known.distribution, known.target) == (offered.distribution, offered.target):
        return offered
    return DiscoveredPlugin(
        known.name, known.load, known.distribution, known.version, known.target, (*known.rivals, offered.distribution)
    )


def choose(bot: str, wanted: str, found: Mapping[str, DiscoveredPlugin]) -> DiscoveredPlugin:
    """Return the plugin a bot asks for. Raises PluginError, which says what is installed."""
    chosen = found.get(wanted)
    if chosen is None:
        installed = ", ".join(found) or "none"
        raise PluginError(
            f"[bot:{bot}] asks for the plugin {wanted!r}, which is not installed{nearest(wanted, found)} "
            f"(installed: {installed})"
        )
    if chosen.rivals:
        others = " and ".join((chosen.distribution, *chosen.rivals))
        raise PluginError(
            f"[bot:{bot}] asks for the plugin {wanted!r}, which {others} both offer: uninstall all but one of them"
        )
    return chosen
