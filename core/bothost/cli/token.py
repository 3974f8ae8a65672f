"""`token`: show or replace the operator's token."""

from __future__ import annotations

import os
import secrets
from typing import TYPE_CHECKING

import click

from bothost.cli import OK
from bothost.cli.help import Command
from bothost.cli.http_delivery import LOOPBACK
from bothost.cli.output import config_option, json_option, show_data, show_json
from bothost.cli.privileges import become_owner
from bothost.cli.selection import host_of, read_existing
from bothost.config import page_by_tls
from bothost.errors import BothostError
from bothost.operator.access_token import path_of, stored

if TYPE_CHECKING:
    from pathlib import Path

    from bothost.config import HostConfig


@click.command(cls=Command, epilog="Example: bothost token --new")
@click.option("--new", is_flag=True, help="Replace it; this ends all sessions of the page.")
@config_option
@json_option
def token(new: bool, config: str, as_json: bool) -> int:
    """Show the token that opens the operator's page, or replace it with --new."""
    host = host_of(read_existing(config))
    shown = _replaced(host) if new else current(host)
    if as_json:
        show_json({"token": shown, "url": page_url(host)})
    else:
        show_data(shown)
    return OK


def page_url(host: HostConfig) -> str:
    """Return the page's address; "" if it is off."""
    if not host.operator_port:
        return ""
    address = LOOPBACK.get(host.operator_address, host.operator_address)
    scheme = "https" if page_by_tls(host) else "http"
    return f"{scheme}://{f'[{address}]' if ':' in address else address}:{host.operator_port}/"


def current(host: HostConfig) -> str:
    """Return the token in force. Raises BothostError if there is none yet."""
    if host.operator_token is not None:
        return host.operator_token.reveal()
    become_owner(host.state)
    token = stored(host.state)
    if token is None:
        raise BothostError(_none_yet(host.state))
    return token.reveal()


def _replaced(host: HostConfig) -> str:
    if host.operator_token is not None:
        raise BothostError(
            "operator_token is set by bots.ini or the environment: change it there, and the host takes it at its reload or start"
        )
    become_owner(host.state)
    made = secrets.token_urlsafe(32)
    try:
        descriptor = os.open(path_of(host.state), os.O_WRONLY | os.O_NOFOLLOW)  # the host creates it
    except FileNotFoundError:
        raise BothostError(_none_yet(host.state)) from None
    with os.fdopen(descriptor, "w") as file:
        file.write(made + "\n")
        file.truncate()
    return made


def _none_yet(state: Path) -> str:
    return f"there is no token in {state} yet: the host makes one at its first start (bothost serve)"
