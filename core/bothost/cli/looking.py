"""`check`, `bots`, `plugins`: what is configured and installed, and what is wrong with it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from bothost.cli import OK, PROBLEM
from bothost.cli.choosing import read_existing
from bothost.cli.output import config_option, json_option, problem_row, say, show_json, show_table, warn
from bothost.clock import SystemClock
from bothost.errors import ConfigError, PluginError, Problem

if TYPE_CHECKING:
    from collections.abc import Mapping

    from bothost.config import BotConfig, Reading
    from bothost.plugins import Plugged
