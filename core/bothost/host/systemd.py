"""Talk to systemd: send readiness and life signs, and take over listening sockets.

On other systems, and in a host that was started by hand, it does nothing. See sd_notify(3) and sd_listen_fds(3).
"""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bothost.host.sockets import adopt

if TYPE_CHECKING:
    from collections.abc import MutableMapping

FIRST_DESCRIPTOR = 3


@dataclass(frozen=True, slots=True)
class Notifier:
    """Sends messages to the service manager at `address`; "" if there is none."""

    address: str = ""
    watchdog_s: float = 0.0
    """The longest interval of life signs that the manager accepts; 0 if it wants none."""

    @classmethod
    def take(cls, env: MutableMapping[str, str]) -> Notifier:
        """Take the address from the environment and remove it there, so that no child of ours reports in our name."""
        address = env.pop("NOTIFY_SOCKET", "")
        period, pid = env.pop("WATCHDOG_USEC", ""), env.pop("WATCHDOG_PID", "")
        meant = address and period.isdecimal() and pid in ("", str(os.getpid()))
        return cls(address, int(period) / 1e6 if meant else 0.0)

    def say(self, *lines: str) -> bool:
        """Send `READY=1` and the like in one message. Return False if nobody took it. Never raises, never waits."""
        if not self.address:
            return False
        path = "\0" + self.address[1:] if self.address.startswith("@") else self.address
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as speaker:
                speaker.setblocking(False)
                speaker.sendto("\n".join(lines).encode(), path)
        except OSError:
            return False
        return True


def take_sockets(env: MutableMapping[str, str]) -> dict[str, list[socket.socket]]:
    """Return the listening sockets that were passed to this process, by name: `public` and `operator`.

    A socket without one of these names is public. The variables are removed from the environment, and the descriptors are
    not inherited further.
    """
    pid, count, names = (env.pop(name, "") for name in ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"))
    passed: dict[str, list[socket.socket]] = {"public": [], "operator": []}
    if pid != str(os.getpid()) or not count.isdecimal():
        return passed
    named = names.split(":")
    for at in range(int(count)):
        name = named[at] if at < len(named) else ""
        passed["operator" if name == "operator" else "public"].append(adopt(FIRST_DESCRIPTOR + at))
    return passed
