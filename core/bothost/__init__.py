"""bothost hosts many Pyrus bots in one process; this module holds the names for plugin authors.

Only the table of public names lives here. No code that does something may be added, and each name is imported when it is first
asked for, so that a test run that loads the pytest plugin pays for nothing it does not use. Start reading in `plugins/api.py` for
what authors write, and in `docs/design.md` for the host.
"""

import typing as _typing

__version__ = "0.1.0"

_HOMES = {
    "errors": (
        "AmbiguousField", "BothostError", "CallError", "CallRefused", "CallUnclear", "CallUnsent", "FieldError", "GiveUp",
        "MissingField", "NoLogin", "RateLimited", "ReplyError", "RequestRefused", "StoreError",
        "Unauthorized",
    ),
    "plugins.api": ("Plugin", "Tick", "cron", "every", "hook", "job", "on"),
    "plugins.event": ("Event",),
    "plugins.guard_marks": ("anyone", "signed", "token"),
    "plugins.http": ("Request", "Response", "value_at"),
    "plugins.jobs": ("Job", "Jobs"),
    "plugins.multipart": ("FormFile",),
    "plugins.run_hooks": ("on_run",),
    "plugins.settings": ("Secret", "Settings"),
    "plugins.settings.field_names": ("FieldName",),
    "plugins.settings.service_address": ("ServiceAddress",),
    "plugins.settings.text_template": ("TextTemplate",),
    "plugins.store": ("Store",),
    "pyrus.model.fields": ("Field", "Row"),
    "pyrus.model.parts": (
        "Address", "Approval", "Channel", "File", "Person", "Role", "SmsInfo", "Step", "Subscriber",
    ),
    "pyrus.model.task": ("Comment", "Task"),
    "pyrus.model.values": ("CatalogItems", "Choice"),
    "pyrus.reply.reply": ("Answer", "Reply"),
    "pyrus.rest.forms": ("Form",),
    "pyrus.rest.results": (
        "Announcement",
        "Catalog",
        "CatalogChange",
        "Contacts",
        "Inbox",
        "Profile",
        "TaskList",
        "Upload",
    ),
    "pyrus.signature": ("sign",),
    "pyrus_client.api": ("Pyrus",),
    "pyrus_client.call": ("Call", "Pages"),
}  # fmt: skip
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

# `__init__.pyi` spells the same names out for type checkers; a test compares the two
__all__ = sorted(_HOME_OF)  # noqa: PLE0605


def __getattr__(name: str) -> _typing.Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module 'bothost' has no attribute {name!r}")
    import importlib

    value = globals()[name] = getattr(importlib.import_module(f"bothost.{_HOME_OF[name]}"), name)
    return value


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
