"""A host that never lives long does what a long life would do."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from tests.operator.page.site import Site

if TYPE_CHECKING:
    from pathlib import Path

DAY_S = 86400.0


def test_what_is_too_old_goes_in_the_first_moments_of_a_life(tmp_path: Path) -> None:
    first = Site(tmp_path).start()
    old = first.keep(created=time.time() - 8 * DAY_S, updated=time.time() - 8 * DAY_S)
    young = first.keep(id="autoreply:6:comment:8", task=6, turn="6")
    first.stop()
    second = Site(tmp_path).start()
    try:
        journal = second.host.resources.journal
        end = time.monotonic() + 10
        while second.do(journal.body(old.id)) is not None:
            assert time.monotonic() < end
        assert second.do(journal.body(young.id)) is not None
    finally:
        second.stop()
