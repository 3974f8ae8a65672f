"""Make listening sockets: bind them, or take them over from systemd or the supervisor. Replace unix sockets without a gap."""

from __future__ import annotations

import errno
import os
import re
import socket
import stat
import weakref
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

BACKLOG = 1024
_BESIDE = re.compile(r"\.(.+)\.\d+")
"""The name under which `bind_unix` binds. The kernel goes on reporting it after the rename."""
_ABSENT = frozenset([errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT])
"""The errors of an address that the machine does not have, or of a family that it does not have."""
_CURES = {
    errno.EADDRINUSE: "another program has it; end that one, or choose another port",
    errno.EACCES: "this user may not have it; choose a port above 1023",
    errno.EADDRNOTAVAIL: "choose an address of this machine, or * for all of them",
}
"""What would be right where an address cannot be had."""
_ours: weakref.WeakSet[socket.socket] = weakref.WeakSet()
"""The sockets on which this process listens. A plugin's forked child must not keep them. It would accept connections that nobody
serves, and hold the port after the host has ended."""


def bind_tcp(address: str, port: int) -> list[socket.socket]:
    """Listen on every address that a name stands for. With port 0 all get the same free one.

    "", "*" and "::" stand for all addresses of IPv4 and IPv6. An address that this machine does not have is left out if another
    one can be bound, because /etc/hosts of a container names ::1 for localhost even without IPv6. Raises OSError, which names
    the address.
    """
    bound: list[socket.socket] = []
    absent: OSError | None = None
    try:
        for family, place in _places(address, port):
            if port == 0 and bound:
                place = (place[0], bound[0].getsockname()[1], *place[2:])  # noqa: PLW2901
            try:
                bound.append(_bind_one(family, place))
            except OSError as problem:
                if problem.errno not in _ABSENT:
                    raise
                absent = problem
        if not bound and absent is not None:
            raise absent
    except OSError as problem:
        for one in bound:
            one.close()
        cure = f" ({_CURES[problem.errno]})" if problem.errno in _CURES else ""
        text = f"cannot listen on {address or '*'}:{port}: {problem.strerror}{cure}"
        raise OSError(problem.errno, text) from problem
    return bound


def _places(address: str, port: int) -> list[tuple[socket.AddressFamily, tuple[Any, ...]]]:
    host = None if address in ("", "*", "::") else address
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    places: dict[tuple[socket.AddressFamily, tuple[Any, ...]], None] = {}
    for family, _kind, _proto, _name, place in sorted(found, key=lambda each: each[0]):
        if family in (socket.AF_INET, socket.AF_INET6):
            places[(family, place)] = None
    return list(places)


def _bind_one(family: socket.AddressFamily, place: tuple[Any, ...]) -> socket.socket:
    made = socket.socket(family, socket.SOCK_STREAM)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            # only with this can 0.0.0.0 and :: use the same port
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        made.setblocking(False)
        made.bind(place)
        made.listen(BACKLOG)
    except OSError:
        made.close()
        raise
    return _kept_from_children(made)


@dataclass(frozen=True, slots=True)
class UnixSocket:
    """A listening unix socket and the file that it made, so that only this file is removed at the end."""

    socket: socket.socket
    path: Path
    inode: tuple[int, int]

    def unlink(self) -> None:
        """Remove the file, unless another host has put its own socket there meanwhile."""
        try:
            found = self.path.stat()
        except FileNotFoundError:
            return
        if (found.st_dev, found.st_ino) == self.inode:
            self.path.unlink(missing_ok=True)


def bind_unix(path: Path) -> UnixSocket:
    """Listen at `path`, with mode 0660 from the first moment. An old socket there is replaced without a gap.

    It sets the process's umask for a moment, so call it before threads make files. Raises OSError, which names the path,
    also if something that is not a socket is there.
    """
    if path.exists() and not stat.S_ISSOCK(path.stat().st_mode):
        raise FileExistsError(f"{path} exists and is not a socket: remove it, or choose another unix_socket")
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    beside.unlink(missing_ok=True)
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(0o117)
    try:
        made.setblocking(False)
        made.bind(str(beside))
        made.listen(BACKLOG)
        found = beside.stat()
        beside.rename(path)
    except OSError as problem:
        made.close()
        beside.unlink(missing_ok=True)
        text = (
            f"cannot listen on {path}: {problem.strerror}; choose a folder that there is and that this user may write"
        )
        raise OSError(problem.errno, text) from problem
    finally:
        os.umask(before)
    return UnixSocket(_kept_from_children(made), path, (found.st_dev, found.st_ino))


def settled(name: str) -> str:
    """Return the path of a unix socket. A socket of `bind_unix`, here or in the supervisor, was renamed after it was bound."""
    folder, _, file = name.rpartition("/")
    match = _BESIDE.fullmatch(file)
    return f"{folder}/{match[1]}" if match else name


def adopt(descriptor: int) -> socket.socket:
    """Return a listening socket that was inherited as a file descriptor. Our own children do not get it."""
    os.set_inheritable(descriptor, False)
    adopted = socket.socket(fileno=descriptor)
    adopted.setblocking(False)
    return _kept_from_children(adopted)


def _kept_from_children(listening: socket.socket) -> socket.socket:
    """Return the socket, for which forked children (not those that exec) get /dev/null."""
    _ours.add(listening)
    return listening


def _let_go() -> None:
    if not _ours:
        return
    null = os.open(os.devnull, os.O_RDWR)
    for listening in _ours:
        if listening.fileno() >= 0:
            # the number stays taken, because libraries in the child still believe that they own it
            os.dup2(null, listening.fileno(), inheritable=False)
    os.close(null)


# a hook cannot be removed, and costs nothing if nobody listens
os.register_at_fork(after_in_child=_let_go)
