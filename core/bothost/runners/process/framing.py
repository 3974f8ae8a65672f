"""Frames on a stream socket: four bytes of length, then msgpack. Children and workers both speak this."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Generic, TypeVar

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterator

T = TypeVar("T")

_LENGTH = struct.Struct(">I")
_encoder = msgspec.msgpack.Encoder()


def pack(message: msgspec.Struct) -> bytes:
    """Return a message as it goes over the socket."""
    body = _encoder.encode(message)
    return _LENGTH.pack(len(body)) + body


class FrameReader(Generic[T]):
    """Reads messages out of the bytes of one socket, in order."""

    __slots__ = ("_decoder", "_longest", "_rest")

    def __init__(self, decoder: msgspec.msgpack.Decoder[T], longest: int) -> None:
        self._decoder = decoder
        self._longest = longest
        self._rest = bytearray()

    def feed(self, data: bytes) -> Iterator[T]:
        """Yield the messages that are complete now. Raises ValueError for one that is too long or is no message."""
        rest = self._rest
        rest += data
        at = 0
        try:
            while len(rest) - at >= _LENGTH.size:
                (size,) = _LENGTH.unpack_from(rest, at)
                if size > self._longest:
                    raise ValueError(f"a frame of {size} bytes; at most {self._longest} are taken")
                end = at + _LENGTH.size + size
                if len(rest) < end:
                    return
                body = bytes(rest[at + _LENGTH.size : end])
                at = end
                try:
                    message = self._decoder.decode(body)
                except msgspec.DecodeError as error:
                    raise ValueError(f"a frame that is no message: {error}") from error
                yield message
        finally:
            del rest[:at]
