"""Give up root before the state folder is touched, because it belongs to the host."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from bothost.errors import BothostError
from bothost.text import user_name

if TYPE_CHECKING:
    from pathlib import Path


def become_owner(folder: Path) -> None:
    """Become the folder's owner and group for the rest of this process if it is root's, so that root owns nothing there.

    Raises BothostError if there is no such folder, which means that no host has run here.
    """
    try:
        owner = folder.stat()
    except FileNotFoundError:
        raise BothostError(
            f"there is no folder {folder}: the host makes it at its first start (bothost serve)"
        ) from None
    if os.geteuid() == 0 and owner.st_uid != 0:
        import rich.console
        import rich.table  # noqa: F401

        try:
            os.setgroups([])
            os.setresgid(owner.st_gid, owner.st_gid, owner.st_gid)
            os.setresuid(owner.st_uid, owner.st_uid, owner.st_uid)
        except PermissionError:
            raise BothostError(explained(folder)) from None
    elif os.geteuid() not in (0, owner.st_uid):
        raise BothostError(explained(folder))


def explained(path: Path) -> str:
    """Explain who owns the folder, which user runs this command, and which user should run it."""
    place = next(one for one in (path, *path.parents) if one.exists())
    owner, ours = user_name(place.stat().st_uid), user_name(os.geteuid())
    command = " ".join(["bothost", *sys.argv[1:]])
    return (
        f"{place} belongs to {owner}, and this command runs as {ours}, which may not use it: sudo -u {owner} {command}"
    )


def give_to_owner(folder: Path) -> None:
    """Give files that root made in a folder to the folder's owner, because the host refuses another user's files."""
    owner = folder.stat()
    if os.geteuid() != 0 or owner.st_uid == 0:
        return
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.stat(follow_symlinks=False).st_uid == 0:
                os.chown(entry.path, owner.st_uid, owner.st_gid, follow_symlinks=False)
