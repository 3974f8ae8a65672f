"""A page to look at, one for each module; and one of its own for each test that changes things."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.operator.page.site import Site

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    site = Site(tmp_path_factory.mktemp("page")).start()
    site.keep()
    site.failed()
    yield site
    site.stop()


@pytest.fixture
def own_page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    site = Site(tmp_path_factory.mktemp("own")).start()
    yield site
    site.stop()
