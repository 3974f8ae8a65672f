"""Fork children on request, and tell the host when they end. The zygote has one thread, and no lock, journal or loop."""

from __future__ import annotations

import array
import json
import os
import select
import signal
import socket
import sys

from bothost.runners import signals
from bothost.runners.process import child


def main(descriptor: int, host: int) -> None:
    """Serve the host until it goes away."""
    child.end_with(host)
    signals.take(signal.SIGINT)
    signals.take(signal.SIGTERM)
    woken, waker = os.pipe()
    os.set_blocking(waker, False)
    os.set_blocking(woken, False)
    signal.set_wakeup_fd(waker, warn_on_full_buffer=False)
    signals.take(signal.SIGCHLD)
    sock = socket.socket(fileno=descriptor)
    children: set[int] = set()
    while True:
        ready, _, _ = select.select([sock.fileno(), woken], [], [])
        if woken in ready:
            _drain(woken)
            _reap(sock, children)
        if sock.fileno() in ready and not _serve(sock, children, (woken, waker)):
            return


def _serve(sock: socket.socket, children: set[int], own: tuple[int, int]) -> bool:
    """Serve one request of the host. Return false when the host has gone."""
    size = socket.CMSG_SPACE(2 * array.array("i").itemsize)
    data, ancillary, _, _ = sock.recvmsg(4096, size)
    if not data:
        return False
    asked = json.loads(data)
    if "kill" in asked:
        if asked["kill"] in children:
            os.kill(asked["kill"], signal.SIGKILL)
        return True
    descriptors = array.array("i")
    for _, _, rights in ancillary:
        descriptors.frombytes(rights[: len(rights) - len(rights) % descriptors.itemsize])
    pid = _fork(sock, own, list(descriptors))
    if pid > 0:
        children.add(pid)
    sock.send(json.dumps({"forked": asked["fork"], "pid": pid}).encode())
    return True


def _fork(sock: socket.socket, own: tuple[int, int], descriptors: list[int]) -> int:
    """Return the pid of a new child; -1 if the machine has no process to give, which affects this request only."""
    parent = os.getpid()
    try:
        pid = os.fork()
    except OSError:
        pid = -1
    if pid == 0:
        _become(sock, own, descriptors, parent)
    for each in descriptors:
        os.close(each)
    return pid


def _become(sock: socket.socket, own: tuple[int, int], descriptors: list[int], parent: int) -> None:
    """Leave the zygote's things behind in the fork, and be a child."""
    status = 1
    try:
        sock.close()
        for each in own:
            os.close(each)
        wire, out = descriptors
        os.dup2(out, 1)
        os.dup2(out, 2)
        os.close(out)
        child.main(wire, parent)
        status = 0
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def _drain(descriptor: int) -> None:
    try:
        while os.read(descriptor, 4096):
            pass
    except BlockingIOError:
        return


def _reap(sock: socket.socket, children: set[int]) -> None:
    for pid in list(children):
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            children.discard(pid)
            sock.send(json.dumps({"ended": pid, "status": os.waitstatus_to_exitcode(status)}).encode())


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
