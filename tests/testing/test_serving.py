"""A bot behind a real socket, as an author tests it with pytest-tornado's client."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from bothost import Event, sign
from bothost.testing import body, encode, served, task

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from tornado.ioloop import IOLoop

    from bothost.testing import Served


def greet(event: Event) -> str:
    return f"Hello, {event.task.author.name}."


@pytest.fixture
def app(io_loop: IOLoop) -> Iterator[Served]:
    with served(io_loop.asyncio_loop, greet, name="greeter") as app:
        yield app


@pytest.mark.gen_test
def test_a_signed_request_is_answered(http_client: Any, base_url: str, app: Served) -> Generator[Any, Any, None]:
    sent = encode(body(task()))
    headers = {"X-Pyrus-Sig": sign(sent, app.secret)}
    response = yield http_client.fetch(base_url + app.path, method="POST", body=sent, headers=headers)
    assert response.code == 200
    assert response.body == b'{"text":"Hello, Anna Gromova."}'


@pytest.mark.gen_test
def test_an_unsigned_one_is_refused(http_client: Any, base_url: str, app: Served) -> Generator[Any, Any, None]:
    response = yield http_client.fetch(base_url + app.path, method="POST", body=b"{}", raise_error=False)
    assert response.code == 403
