"""Prepare a process for a host: its limits, its memory, its loop, and the folder of its state."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import logging
import os
import resource
import signal
import stat
import sys
from typing import TYPE_CHECKING

from bothost.errors import ConfigError, Problem
from bothost.journal.disk import READ_ONLY, is_read_only
from bothost.text import user_name

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable
    from pathlib import Path

log = logging.getLogger("bothost.server")

PR_SET_PDEATHSIG = 1
MOST_FILES = 1 << 20
"""The limit of open files if the hard limit is "infinity". No host needs more, and each costs the kernel memory."""
OWN_FILES = 200
"""The descriptors that are not connections: journal, children, plugins' own."""
KEPT_LIMITS = (
    resource.RLIMIT_NOFILE,
    resource.RLIMIT_FSIZE,
    resource.RLIMIT_AS,
    resource.RLIMIT_DATA,
    resource.RLIMIT_NPROC,
)
YOUNG = 5000
"""The number of new objects at which the collector begins. With Python's 700 it took a twentieth of each delivery."""
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
KEPT_BYTES = 32 << 20
"""The freed memory that malloc keeps. By default it is some 300 kB, and each large body gets new pages from the kernel."""
ALONE_BYTES = 1 << 20
"""A larger piece of memory is returned to the kernel as soon as it is freed."""
SWITCH_S = 0.001
"""The interval of thread switching, because busy threads make the loop wait for the GIL: p95 48, not 257 ms (10 threads)."""


def prepare_process() -> int:
    """Set umask, memory, thread switching and the file limit. Return the number of files that may be open from now on."""
    os.umask(0o077)
    keep_freed_memory()
    gc.set_threshold(YOUNG, *gc.get_threshold()[1:])
    sys.setswitchinterval(SWITCH_S)
    return raise_file_limit()


def keep_freed_memory() -> None:
    """Have glibc's malloc keep the memory of bodies for the next ones. Other C libraries are left as they are."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_TRIM_THRESHOLD, KEPT_BYTES)
        mallopt(_M_MMAP_THRESHOLD, ALONE_BYTES)


def stop_with_parent() -> None:
    """Have the kernel send SIGTERM when the supervisor ends, because a loop that a plugin blocks does not see its socket close."""
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """Return the function that makes uvloop's loop; None for Python's own, by BOTHOST_LOOP=asyncio or without uvloop."""
    if os.environ.get("BOTHOST_LOOP") == "asyncio":
        return None
    try:
        import uvloop
    except ImportError:
        return None
    factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return factory


def raise_file_limit() -> int:
    """Raise the soft limit of open files to the hard one, and return the limit that holds then."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST_FILES if hard == resource.RLIM_INFINITY else min(hard, MOST_FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        except (OSError, ValueError):
            return soft
        return wanted
    return wanted if soft == resource.RLIM_INFINITY else soft


class ResourceLimits:
    """The limits of the process as they were when this was made. Plugins share them."""

    def __init__(self) -> None:
        self._soft = {one: resource.getrlimit(one)[0] for one in KEPT_LIMITS}
        self._told = False

    def keep(self) -> None:
        """Raise again what a plugin has lowered, as far as its hard limit lets that be done."""
        for one, wanted in self._soft.items():
            soft, hard = resource.getrlimit(one)
            most = min(wanted, hard, key=_size)
            if _size(soft) < _size(most):
                resource.setrlimit(one, (most, hard))
                if not self._told:
                    self._told = True
                    log.warning("a plugin lowered the limits of the process, which all share; they were raised again")


def _size(limit: int) -> float:
    return float("inf") if limit == resource.RLIM_INFINITY else limit


def connections(configured: int | None, files: int) -> int:
    """Return the number of connections that may be open: the configured one, else what the file limit leaves."""
    return configured if configured is not None else max(files - OWN_FILES, OWN_FILES)


def state_folder(path: Path) -> None:
    """Make the state folder, and make it its owner's alone.

    Raises ConfigError if it cannot be made, others may write into it, or it or a file in it belongs to another user: the
    journal and the operator's token in it could then be somebody else's.
    """
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = path.stat()
        mode = found.st_mode
    except OSError as error:
        raise _wrong(f"the folder {path} cannot be made: {error.strerror}") from error
    if mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise _wrong(f"others may write into {path}, which holds the journal and tokens: chmod 700 {path}")
    if is_read_only(path):
        raise _wrong(f"{path}: {READ_ONLY}")
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        with contextlib.suppress(PermissionError):  # the folder is another user's; its files are 0600 in any case
            path.chmod(stat.S_IRWXU)
    if not os.access(path, os.W_OK | os.X_OK):
        ours, owner = user_name(os.geteuid()), user_name(found.st_uid)
        raise _wrong(
            f"{ours} may not write into {path}, which belongs to {owner}: start the host as {owner}, or chmod 700 {path}"
        )
    if found.st_uid != os.geteuid():
        user = user_name(found.st_uid)
        raise _wrong(
            f"{path} belongs to {user}: start the host as {user}, or chown -R {user_name(os.geteuid())} {path}"
        )
    with os.scandir(path) as entries:
        for entry in entries:
            _refuse_foreign(entry)


def _refuse_foreign(entry: os.DirEntry[str]) -> None:
    """Refuse a file of another user, and a link in place of a file, because the host would read or overwrite its target."""
    try:
        found = entry.stat(follow_symlinks=False)
    except FileNotFoundError:  # a journal's log may vanish at any moment
        return
    if found.st_uid != os.geteuid():
        whose = f"belongs to {user_name(found.st_uid)}, not to {user_name(os.geteuid())}"
        raise _wrong(f"{entry.path} {whose}: look who put it there, then chown or remove it")
    if entry.is_symlink() and not entry.is_dir():
        raise _wrong(
            f"{entry.path} is a link to {os.readlink(entry.path)}: put the file itself there, or remove the link"
        )


def _wrong(text: str) -> ConfigError:
    return ConfigError((Problem(text, section="host", key="state"),))
