"""Say how long the journal keeps entries and their parts, beyond what each bot's `keep` says."""

from __future__ import annotations

DAY_S = 86400.0
KEEP_S = 7 * DAY_S
"""The time for which bodies stay if their bot is not in bots.ini any more."""
ANSWERS_S = 600.0
"""Answers stay at least this long, because repeats get them."""
KEYS_S = 30 * DAY_S
"""The time for which the keys of ended entries stay, and the ids of comments that handlers wrote."""
TIMER_KEYS_S = 2 * DAY_S
"""The same for the keys of ticks, which are many."""
OWNERS_S = DAY_S
"""The time for which an owner is kept after its lease, if nothing is claimed in its name: it may have stood still."""
