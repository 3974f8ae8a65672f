"""Bodies as Pyrus would send them, by the number their file begins with."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

if TYPE_CHECKING:
    from collections.abc import Callable

# The same examples in every run, and none too slow: a loaded machine is no fault of what is tested.
settings.register_profile("bothost", deadline=None, derandomize=True)
settings.load_profile("bothost")

DELIVERIES = Path(__file__).parent.parent / "data" / "deliveries"


@pytest.fixture
def body() -> Callable[[str], bytes]:
    """`body("02")`: the bytes of the delivery with this number."""
    return lambda number: next(DELIVERIES.glob(f"{number}_*.json")).read_bytes()
