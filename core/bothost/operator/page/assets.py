"""Read the page's own files once. A changed file gets another URL."""

from __future__ import annotations

import hashlib
from importlib.resources import files
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

_TYPES = {
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
    "ico": "image/x-icon",
}


class StaticFiles:
    """The page's files by name, each with content and type."""

    def __init__(self, contents: Mapping[str, bytes]) -> None:
        self._contents = dict(contents)
        self._digests = {name: hashlib.sha256(content).hexdigest()[:12] for name, content in contents.items()}

    @classmethod
    def installed(cls) -> StaticFiles:
        """Read the files of the installed package."""
        folder = files("bothost.operator.page") / "static"
        return cls(
            {file.name: file.read_bytes() for file in folder.iterdir() if file.name.rpartition(".")[2] in _TYPES}
        )

    def url(self, name: str) -> str:
        """Return the URL of a file."""
        return f"/static/{name}?v={self._digests[name]}"

    def find(self, name: str) -> tuple[bytes, str] | None:
        """Return content and type; None if there is no such file."""
        content = self._contents.get(name)
        return None if content is None else (content, _TYPES[name.rpartition(".")[2]])
