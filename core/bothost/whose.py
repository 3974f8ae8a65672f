"""Whose code runs: a context variable that every run of a plugin sets, so that tasks and timers it makes carry it too."""

from __future__ import annotations

from contextvars import ContextVar

BOT: ContextVar[str] = ContextVar("bothost_bot", default="")
"""The name of the bot whose code this context belongs to; empty for the host's own."""
