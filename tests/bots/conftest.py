"""The journals that processes share."""

from tests.journal.conftest import journal, postgres

__all__ = ["journal", "postgres"]
