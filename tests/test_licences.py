"""docs/licences.md lists what an installation with all extras holds, and nothing whose licence asks for more than a notice."""

from __future__ import annotations

import re
from importlib.metadata import distribution
from pathlib import Path

from packaging.requirements import Requirement

PAGE = Path(__file__).parents[1] / "docs" / "licences.md"
PERMISSIVE = {
    "MIT", "BSD-2-Clause", "BSD-3-Clause", "Apache-2.0", "Apache-2.0 AND BSD-2-Clause", "MIT OR Apache-2.0",
    "Apache-2.0 AND MIT", "PSF-2.0",
}  # fmt: skip


OLDEST = {"python_version": "3.11", "python_full_version": "3.11.0"}  # it needs the most packages


def installed() -> set[str]:
    """Names of all that `bothost[postgres]` brings, itself left out."""
    found: set[str] = set()
    waiting = [Requirement("bothost[postgres]")]
    while waiting:
        asked = waiting.pop()
        for text in distribution(asked.name).requires or ():
            needed = Requirement(text)
            extras = asked.extras or {""}
            if needed.marker is not None and not any(
                needed.marker.evaluate({"extra": extra, **OLDEST}) for extra in extras
            ):
                continue
            name = needed.name.lower().replace("_", "-")
            if name not in found:
                found.add(name)
                waiting.append(needed)
    return found


def test_the_list_of_licences_is_complete_and_each_licence_permissive():
    rows = dict(re.findall(r"^\| ([a-z0-9-]+) \| ([^|]+?) \|", PAGE.read_text("utf-8"), re.MULTILINE))
    del rows["package"]
    assert set(rows) == installed()
    assert set(rows.values()) <= PERMISSIVE
