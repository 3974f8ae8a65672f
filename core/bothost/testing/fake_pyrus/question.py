"""Define a request as the fake Pyrus reads it, and its response."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

import msgspec

from bothost.testing.fake_pyrus.world import ApiRefusal, Json, StoredFile

if TYPE_CHECKING:
    from collections.abc import Mapping

_ENCODER = msgspec.json.Encoder(decimal_format="number")


@dataclass(frozen=True, slots=True)
class ApiQuestion:
    """A request as the API reads it: the path below the base URL, the query, the body or the file that came as one."""

    method: str
    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    body: bytes = field(default=b"", repr=False)
    token: str | None = field(default=None, repr=False)
    file: StoredFile | None = None

    @property
    def title(self) -> str:
        """Return method and path, as faults name them."""
        return f"{self.method} {self.path}"

    def json(self) -> Json:
        """Return the body as an object. Raises ApiRefusal 400."""
        if not self.body:
            raise ApiRefusal(400, "empty_body")
        try:
            value = json.loads(self.body)
        except ValueError:
            raise ApiRefusal(400, "invalid_json") from None
        if not isinstance(value, dict):
            raise ApiRefusal(400, "invalid_json")
        return value


@dataclass(frozen=True, slots=True)
class FakeResponse:
    """The API's response: JSON, or the bytes of a file."""

    status: int
    value: Any = None
    file: StoredFile | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    unknown: bool = False
    """True if this fake has no such call."""

    @property
    def body(self) -> bytes:
        """Return the JSON."""
        return _ENCODER.encode(self.value)


def query_of(text: str) -> dict[str, str]:
    """Return a query string as a mapping."""
    return dict(parse_qsl(text, keep_blank_values=True))
