"""bothost hosts many Pyrus bots in one process; these are the names for plugin authors.

Each name is imported when it is first asked for: a test run that loads the pytest plugin pays for nothing it does not use.
"""

import typing as _typing

__version__ = "0.1.0"

__all__ = [
    "Address",
    "AmbiguousField",
    "Answer",
    "Approval",
    "BothostError",
    "Call",
    "CallError",
    "CallRefused",
    "CallUnclear",
    "CallUnsent",
    "Catalog",
    "CatalogItems",
    "Channel",
    "Choice",
    "Comment",
    "Contacts",
    "Event",
    "Field",
    "FieldError",
    "File",
    "Form",
    "GiveUp",
    "MissingField",
    "NoLogin",
    "Pages",
    "Person",
    "Plugin",
    "Profile",
    "Pyrus",
    "RateLimited",
    "Reply",
    "ReplyError",
    "Role",
    "Row",
    "Secret",
    "Settings",
    "SmsInfo",
    "Step",
    "Subscriber",
    "Task",
    "Tick",
    "Unauthorized",
    "Upload",
    "cron",
    "every",
    "on",
    "sign",
]

if _typing.TYPE_CHECKING:
    from bothost.api import Call, Pages, Pyrus
    from bothost.errors import (
        AmbiguousField,
        BothostError,
        CallError,
        CallRefused,
        CallUnclear,
        CallUnsent,
        FieldError,
        GiveUp,
        MissingField,
        NoLogin,
        RateLimited,
        ReplyError,
        Unauthorized,
    )
    from bothost.event import Event
    from bothost.plugin_api import Plugin, Tick, cron, every, on
    from bothost.pyrus.answers import Catalog, Contacts, Form, Profile, Upload
    from bothost.pyrus.fields import Field
    from bothost.pyrus.parts import Address, Approval, Channel, File, Person, Role, SmsInfo, Step, Subscriber
    from bothost.pyrus.replies import Answer, Reply
    from bothost.pyrus.signature import sign
    from bothost.pyrus.tables import Row
    from bothost.pyrus.task import Comment, Task
    from bothost.pyrus.values import CatalogItems, Choice
    from bothost.settings import Secret, Settings

_HOMES = {
    "api": ("Call", "Pages", "Pyrus"),
    "errors": (
        "AmbiguousField", "BothostError", "CallError", "CallRefused", "CallUnclear", "CallUnsent", "FieldError", "GiveUp",
        "MissingField", "NoLogin", "RateLimited", "ReplyError", "Unauthorized",
    ),
    "event": ("Event",),
    "plugin_api": ("Plugin", "Tick", "cron", "every", "on"),
    "pyrus.answers": ("Catalog", "Contacts", "Form", "Profile", "Upload"),
    "pyrus.fields": ("Field",),
    "pyrus.parts": ("Address", "Approval", "Channel", "File", "Person", "Role", "SmsInfo", "Step", "Subscriber"),
    "pyrus.replies": ("Answer", "Reply"),
    "pyrus.signature": ("sign",),
    "pyrus.tables": ("Row",),
    "pyrus.task": ("Comment", "Task"),
    "pyrus.values": ("CatalogItems", "Choice"),
    "settings": ("Secret", "Settings"),
}  # fmt: skip
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> _typing.Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module 'bothost' has no attribute {name!r}")
    import importlib

    value = globals()[name] = getattr(importlib.import_module(f"bothost.{_HOME_OF[name]}"), name)
    return value


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
