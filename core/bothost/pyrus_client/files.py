"""Send and receive files in pieces. A thread reads and writes them, and memory never holds a whole file."""

from __future__ import annotations

import asyncio
import os
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, TypeVar

from bothost.errors import CallUnsent
from bothost.pyrus.rest import requests

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from bothost.clock import Clock
    from bothost.pyrus.rest.requests import ApiRequest

PIECE_BYTES = 64 << 10

T = TypeVar("T")
Source = str | os.PathLike[str] | bytes | IO[bytes]


@dataclass(frozen=True, slots=True)
class FileUpload:
    """A file to send: the request, and a function that makes the body's pieces anew for each try."""

    name: str
    request: ApiRequest
    content: Callable[[], AsyncIterator[bytes]]


async def in_thread(clock: Clock, work: Callable[[], T]) -> T:
    """Run work that waits for a disk in a thread, and return its result."""
    with clock.real_io():
        return await asyncio.get_running_loop().run_in_executor(None, work)


async def outgoing(clock: Clock, source: Source, name: str | None) -> FileUpload:
    """Prepare a path, bytes, or a file that is open for reading bytes (sent from its present place). Raises OSError."""
    if isinstance(source, bytes | bytearray | memoryview):
        content = bytes(source)
        return _framed(name or "file", len(content), lambda: _of_bytes(content))
    if isinstance(source, str | os.PathLike):
        path = Path(source)
        size = (await in_thread(clock, path.stat)).st_size
        return _framed(name or path.name, size, lambda: _of_path(clock, path))
    if not hasattr(source, "read"):
        raise TypeError(f"upload takes a path, bytes or a file open for reading bytes, and not {source!r:.80}")
    reader = OpenedFile(clock, source)
    own_name = getattr(source, "name", None)
    return _framed(name or (Path(own_name).name if isinstance(own_name, str) else "file"), None, reader.pieces)


def _framed(name: str, size: int | None, content: Callable[[], AsyncIterator[bytes]]) -> FileUpload:
    content_type, head, tail = requests.multipart(name, secrets.token_hex(16))

    async def pieces() -> AsyncIterator[bytes]:
        yield head
        async for piece in content():
            yield piece
        yield tail

    length = None if size is None else len(head) + size + len(tail)
    return FileUpload(name, requests.upload(content_type, length), pieces)


async def _of_bytes(content: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(content), PIECE_BYTES):
        yield content[start : start + PIECE_BYTES]


async def _of_path(clock: Clock, path: Path) -> AsyncIterator[bytes]:
    file = await in_thread(clock, lambda: path.open("rb"))
    try:
        while piece := await in_thread(clock, lambda: file.read(PIECE_BYTES)):
            yield piece
    finally:
        file.close()


class OpenedFile:
    """A file the author has opened. A second try begins where the first began, if the file can go back."""

    def __init__(self, clock: Clock, file: IO[bytes]) -> None:
        self._clock = clock
        self._file = file
        self._start: int | None = None
        self._begun = False

    async def pieces(self) -> AsyncIterator[bytes]:
        """Yield the file's bytes from its place at the first try. Raises CallUnsent if it cannot be read a second time."""
        if not self._begun and self._file.seekable():
            self._start = self._file.tell()
        elif self._begun and self._start is None:
            raise CallUnsent("the upload must be sent again, and this file cannot be read twice; give a path or bytes")
        elif self._begun and self._start is not None:
            self._file.seek(self._start)
        self._begun = True
        while piece := await in_thread(self._clock, lambda: self._file.read(PIECE_BYTES)):
            yield piece


async def save(clock: Clock, pieces: AsyncIterator[bytes], target: str | os.PathLike[str]) -> Path:
    """Write the pieces to a file, which gets its name only when it is complete, and return its path. Raises OSError."""
    path = Path(target)
    part = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        file = await in_thread(clock, lambda: part.open("xb"))
        with file:
            async for piece in pieces:
                await in_thread(clock, lambda piece=piece: file.write(piece))  # type: ignore[misc]
            await in_thread(clock, file.flush)
        await in_thread(clock, lambda: part.replace(path))
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    return path
