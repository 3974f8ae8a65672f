"""The webhook as an application."""

from tests.webhook.conftest import serve  # noqa: F401 - a fixture
