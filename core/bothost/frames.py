"""Whose code a frame runs: bothost's own, a library's, or a plugin's."""

from __future__ import annotations

import sys
import sysconfig
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import FrameType, TracebackType

_OURS = f"{Path(__file__).parent}/"


@cache
def is_known(file: str) -> bool:
    """Whether code of this file is bothost's, Tornado's or the standard library's; any other is the plugin's concern."""
    if file.startswith(("<", _OURS)) or "/tornado/" in file:
        return True
    return file.startswith(f"{sysconfig.get_paths()['stdlib']}/") and "-packages/" not in file


def innermost_foreign(frame: FrameType | None) -> FrameType | None:
    """The innermost frame of a plugin, or of a library that it calls; None where all are known."""
    while frame is not None and is_known(frame.f_code.co_filename):
        frame = frame.f_back
    return frame


def place_of(frame: FrameType | None) -> str:
    """`file:line in function` of the innermost frame of a plugin; "" where there is none."""
    found = innermost_foreign(frame)
    return f"{found.f_code.co_filename}:{found.f_lineno} in {found.f_code.co_qualname}" if found is not None else ""


def place_of_thread(ident: int) -> str:
    """Where a thread stands now, as `place_of`."""
    return place_of(sys._current_frames().get(ident))


def innermost_of(trace: TracebackType | None) -> str:
    """`file:line` where an exception left the innermost frame of a plugin; "" where it left none."""
    found = ""
    while trace is not None:
        file = trace.tb_frame.f_code.co_filename
        if not is_known(file):
            found = f"{file}:{trace.tb_lineno}"
        trace = trace.tb_next
    return found
