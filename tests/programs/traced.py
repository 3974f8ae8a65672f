"""Run the command `bothost` and write each call of its own functions, in order: `traced.py FILE serve --config …`."""

from __future__ import annotations

import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import bothost

if TYPE_CHECKING:
    from types import FrameType

CORE = str(Path(bothost.__file__).parent) + "/"


def main() -> None:
    """Trace every thread from here on; the lines are `file:function`, with the file below the package."""
    out = open(sys.argv[1], "a", buffering=1)  # noqa: SIM115 -- the process keeps it

    def note(frame: FrameType, event: str, _arg: object) -> None:
        if event == "call" and frame.f_code.co_filename.startswith(CORE):
            out.write(f"{frame.f_code.co_filename[len(CORE) :]}:{frame.f_code.co_qualname}\n")

    sys.argv = ["bothost", *sys.argv[2:]]
    threading.setprofile(note)
    sys.setprofile(note)
    from bothost.cli import main as command

    command()


if __name__ == "__main__":
    main()
