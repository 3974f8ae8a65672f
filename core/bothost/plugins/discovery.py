"""Which plugins are installed: entry points of the group `bothost.plugins`, looked at without importing any."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from bothost.errors import PluginError
from bothost.text import nearest

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

GROUP = "bothost.plugins"


@dataclass(frozen=True, slots=True)
class DiscoveredPlugin:
    """A plugin that can be loaded. `rivals` are further distributions that offer the same name: then none is taken."""

    name: str
    load: Callable[[], Any] = field(repr=False)
    distribution: str = ""
    version: str = ""
    target: str = ""
    """What the entry point names, `package.module:object`."""
    rivals: tuple[str, ...] = ()


def find(group: str = GROUP) -> dict[str, DiscoveredPlugin]:
    """All installed plugins by name, in the order of their names."""
    from importlib_metadata import entry_points

    found: dict[str, DiscoveredPlugin] = {}
    for point in sorted(entry_points(group=group), key=lambda point: point.name):
        distribution = point.dist
        offered = DiscoveredPlugin(
            point.name,
            point.load,
            distribution.name if distribution is not None else "",
            distribution.version if distribution is not None else "",
            point.value,
        )
        found[point.name] = _beside(found.get(point.name), offered)
    return found


def _beside(known: DiscoveredPlugin | None, offered: DiscoveredPlugin) -> DiscoveredPlugin:
    if known is None or (known.distribution, known.target) == (offered.distribution, offered.target):
        return offered
    return DiscoveredPlugin(
        known.name, known.load, known.distribution, known.version, known.target, (*known.rivals, offered.distribution)
    )


def choose(bot: str, wanted: str, found: Mapping[str, DiscoveredPlugin]) -> DiscoveredPlugin:
    """The plugin a bot asks for. Raises PluginError, which says what is installed."""
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
