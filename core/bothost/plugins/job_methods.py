"""Read the job methods of a loaded plugin."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bothost.plugins.handlers import Handler, of_methods

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
    return of_methods(plugin, marks, where, "job", lambda mark, kept, _place: JobSpec(mark.name, kept))
