"""Give up root before the state folder is touched, because it belongs to the host."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from bothost.errors import BothostError

if TYPE_CHECKING:
    from pathlib import Path


def become_owner(folder: Path) -> None:
    """As root, become the folder's owner and group for the rest of this process, so that root owns nothing in it.

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

        os.setgroups([])
        os.setresgid(owner.st_gid, owner.st_gid, owner.st_gid)
        os.setresuid(owner.st_uid, owner.st_uid, owner.st_uid)
