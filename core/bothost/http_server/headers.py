"""Build a request's headers as Tornado's `HTTPHeaders` from the parser's bytes, without checking them a second time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tornado.httputil import HTTPHeaders

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping


class _Names(dict[bytes, str]):
    """Names as `Http-Header-Case`. Only usual ones are kept, because strangers choose the others."""

    def __missing__(self, name: bytes) -> str:
        return canonical(name.decode("latin-1"))


def canonical(name: str) -> str:
    """Return a header's name as `Http-Header-Case`."""
    return "-".join([part.capitalize() for part in name.split("-")])


_USUAL = (
    "Accept", "Accept-Encoding", "Accept-Language", "Authorization", "Cache-Control", "Connection", "Content-Encoding",
    "Content-Length", "Content-Type", "Cookie", "Expect", "Forwarded", "Host", "Origin", "Referer", "Sec-Fetch-Site",
    "Traceparent", "Transfer-Encoding", "Upgrade", "User-Agent", "Via", "X-Forwarded-For", "X-Forwarded-Host",
    "X-Forwarded-Proto", "X-Pyrus-Retry", "X-Pyrus-Sig", "X-Real-Ip", "X-Request-Id",
)  # fmt: skip
NAMES = _Names()
for _name in _USUAL:
    NAMES[_name.encode()] = NAMES[_name.lower().encode()] = _name


class RequestHeaders(HTTPHeaders):
    """Headers over `lists`: the values of each canonical name, in the order in which they came. They stay bytes until they are
    asked for, because most are never asked for."""

    def __init__(self, lists: dict[str, list[bytes]]) -> None:  # the base class would check and copy each
        self.lists = lists

    def add(self, name: str, value: str, *, _chars_are_bytes: bool = True) -> None:
        """Add one more value of a name."""
        self.lists.setdefault(canonical(name), []).append(value.encode("latin-1"))

    def get_list(self, name: str) -> list[str]:
        """Return all values of a name."""
        return _texts(self.lists.get(canonical(name), []))

    def get_all(self) -> Iterable[tuple[str, str]]:
        """Return each name with each of its values."""
        return [(name, value) for name, values in self.lists.items() for value in _texts(values)]

    def __getitem__(self, name: str) -> str:
        return ",".join(_texts(self.lists[canonical(name)]))

    def __setitem__(self, name: str, value: str) -> None:
        self.lists[canonical(name)] = [value.encode("latin-1")]

    def __delitem__(self, name: str) -> None:
        del self.lists[canonical(name)]

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and canonical(name) in self.lists

    def __len__(self) -> int:
        return len(self.lists)

    def __iter__(self) -> Iterator[str]:
        return iter(self.lists)


def value_lists(headers: HTTPHeaders) -> Mapping[str, list[bytes]]:
    """Return the values of each canonical name, of this server's headers without a copy."""
    if headers.__class__ is RequestHeaders:
        lists: dict[str, list[bytes]] = headers.lists
        return lists
    return {name: [value.encode("latin-1", "replace") for value in headers.get_list(name)] for name in headers}


def _texts(values: list[bytes]) -> list[str]:
    return [value.decode("latin-1") for value in values]
