"""`check`, `bots`, `plugins`: what is configured and installed, and what is wrong with it."""

from __future__ import annotations



