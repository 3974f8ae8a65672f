"""Make the host's loggers such that no plugin can silence them, whatever it does to logging when it is imported."""

from __future__ import annotations

import logging
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Self

from bothost.text import said

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

OURS = ("bothost", "tornado", "asyncio")
"""The names of the loggers that report what the host does, with all loggers below them."""
RAISED = "bothost.raised"
"""The logger of exceptions of handlers. Only error trackers get its records, never the host's own handler."""
_TOP = logging.getLogger("bothost")
_NO_LAST_RESORT = logging.NullHandler()


class HostLogger(logging.Logger):
    """Gives each record to the host's handler, whatever level, handlers, filters or switches a plugin has set.

    `guard` gives existing loggers this class. Other handlers are called as well, those of the logger and of the logger
    `bothost`, because error trackers hook in there. Nothing propagates to the root logger, whose handlers mask no secret.
    """

    taker: logging.Handler = _NO_LAST_RESORT
    least: int = logging.NOTSET
    """The level that the host itself had set before `guard`."""
    failure_told: bool = False

    def __init__(self, name: str, level: int = logging.NOTSET) -> None:
        super().__init__(name, level)
        self.addHandler(_NO_LAST_RESORT)

    @property
    def propagate(self) -> bool:
        """Return False. An assigned value is ignored."""
        return False

    @propagate.setter
    def propagate(self, value: bool) -> None:
        del value

    @property
    def disabled(self) -> bool:
        """Return False. `dictConfig` sets this for every logger that it does not name."""
        return False

    @disabled.setter
    def disabled(self, value: bool) -> None:
        del value

    def isEnabledFor(self, level: int) -> bool:  # noqa: N802 - the name is the standard library's
        """Return whether the host's own level lets records of this level pass. `logging.disable` does not count."""
        least = logging.WARNING if self.name == "tornado.access" else self.least
        return level >= max(self.taker.level, least)

    def makeRecord(  # noqa: N802, PLR0913, PLR0917 - as the standard library has it
        self,
        name: str,
        level: int,
        fn: str,
        lno: int,
        msg: object,
        args: Any,
        exc_info: Any,
        func: str | None = None,
        extra: Mapping[str, object] | None = None,
        sinfo: str | None = None,
    ) -> logging.LogRecord:
        """Make a record without the factory that a plugin may have set."""
        record = logging.LogRecord(name, level, fn, lno, msg, args, exc_info, func, sinfo)
        for key, value in (extra or {}).items():
            vars(record).setdefault(key, value)
        return record

    def handle(self, record: logging.LogRecord) -> None:
        """Give the record to the host's handler, then to handlers that were added."""
        if self.name != RAISED:
            self.taker.handle(record)
        try:
            self.callHandlers(record)
            if self.name.startswith(f"{_TOP.name}."):
                for handler in _TOP.handlers:
                    if record.levelno >= handler.level:
                        handler.handle(record)
        except Exception as error:  # noqa: BLE001 - a handler that a plugin has added must not fail what logs
            told = type(self)
            if not told.failure_told:
                told.failure_told = True
                self.taker.handle(
                    self.makeRecord(
                        "bothost.logs", logging.WARNING, "", 0,
                        "a log handler that a plugin has added fails, and is not told of again: %s", (said(error),), None,
                    )
                )  # fmt: skip


class OwnLevelHandler(logging.Handler):
    """Keeps the level that its owner gave it, because plugins set the levels of all handlers that they find."""

    _kept = logging.NOTSET

    level = property(attrgetter("_kept"), lambda _handler, _level: None)
    """The level of `keep_level`. An assigned value is ignored. It is read for each record, so that reading calls no Python."""

    def keep_level(self, level: int) -> None:
        """Take records of this level and above from now on."""
        self._kept = level


class LogListener(logging.Handler):
    """Hears the loggers of the host and of its plugins while it is entered. Subclasses say in `emit` what they keep."""

    def __enter__(self) -> Self:
        _TOP.addHandler(self)
        return self

    def __exit__(self, *_: object) -> None:
        _TOP.removeHandler(self)
        self.close()


def guard(taker: logging.Handler) -> Callable[[], None]:
    """Make every logger of the host, also later ones, give its records to this handler. Return a function that undoes it."""
    guarded = type("HostLogger", (HostLogger,), {"taker": taker})
    manager = logging.Logger.manager
    before = manager.loggerClass
    changed: list[logging.Logger] = []

    def made(name: str) -> logging.Logger:
        if _is_ours(name):
            logger: logging.Logger = guarded(name)
            changed.append(logger)
            return logger
        return (before or logging.getLoggerClass())(name)

    for logger in _existing():
        for attribute in ("propagate", "disabled"):
            vars(logger).pop(attribute, None)
        logger.__class__ = guarded
        vars(logger)["least"] = logging.NOTSET if logger.name == RAISED else logger.level
        logger.addHandler(_NO_LAST_RESORT)
        changed.append(logger)
    manager.loggerClass = made  # type: ignore[assignment]  # all that is asked of it is to make a logger

    def undo() -> None:
        manager.loggerClass = before
        for logger in changed:
            logger.__class__ = logging.Logger
            logger.propagate, logger.disabled = True, False
            logger.removeHandler(_NO_LAST_RESORT)

    return undo


def _is_ours(name: str) -> bool:
    return name.partition(".")[0] in OURS


def _existing() -> Iterator[logging.Logger]:
    for name, logger in list(logging.Logger.manager.loggerDict.items()):
        if _is_ours(name) and isinstance(logger, logging.Logger):
            yield logger
