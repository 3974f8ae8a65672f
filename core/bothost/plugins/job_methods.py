"""Read the job methods of a loaded plugin."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bothost.errors import PluginError
from bothost.plugins.handlers import Handler, check_call, handler, standing_at

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from bothost.plugins.api import JobMark, Plugin


@dataclass(frozen=True, slots=True)
class JobSpec:
    """A job method of a loaded plugin."""

    name: str
    handler: Handler


def jobs(plugin: Plugin[Any], marks: Mapping[str, tuple[JobMark, ...]], where: str) -> Iterator[JobSpec]:
    """Yield the jobs of an instance, in order of definition. Raises PluginError."""
    seen: dict[str, str] = {}
    for method, those in marks.items():
        kept = getattr(plugin, method)
        place = f"{where}.{method}"
        with standing_at(kept):
            check_call(kept, 1, place, f"def {method}(self, job)")
            for mark in those:
                if mark.name in seen:
                    first = seen[mark.name]
                    raise PluginError(f"{place}: {first} is the job {mark.name!r} already; give it another name")
                seen[mark.name] = method
                yield JobSpec(mark.name, handler(method, kept))
