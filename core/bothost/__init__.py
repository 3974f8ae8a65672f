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
    from bothost.plugins.api import Plugin, Tick, cron, every, on
    from bothost.plugins.event import Event
    from bothost.plugins.settings import Secret, Settings
    from bothost.pyrus.model.fields import Field, Row
    from bothost.pyrus.model.parts import Address, Approval, Channel, File, Person, Role, SmsInfo, Step, Subscriber
    from bothost.pyrus.model.task import Comment, Task
    from bothost.pyrus.model.values import CatalogItems, Choice
    from bothost.pyrus.reply.reply import Answer, Reply
    from bothost.pyrus.rest.results import Catalog, Contacts, Form, Profile, Upload
    from bothost.pyrus.signature import sign
    from bothost.pyrus_client.api import Pyrus
    from bothost.pyrus_client.call import Call, Pages

_HOMES = {
    "errors": (
        "AmbiguousField", "BothostError", "CallError", "CallRefused", "CallUnclear", "CallUnsent", "FieldError", "GiveUp",
        "MissingField", "NoLogin", "RateLimited", "ReplyError", "Unauthorized",
    ),
    "plugins.api": ("Plugin", "Tick", "cron", "every", "on"),
    "plugins.event": ("Event",),
    "plugins.settings": ("Secret", "Settings"),
    "pyrus.model.fields": ("Field", "Row"),
    "pyrus.model.parts": (
        "Address", "Approval", "Channel", "File", "Person", "Role", "SmsInfo", "Step", "Subscriber",
    ),
    "pyrus.model.task": ("Comment", "Task"),
    "pyrus.model.values": ("CatalogItems", "Choice"),
    "pyrus.reply.reply": ("Answer", "Reply"),
    "pyrus.rest.results": ("Catalog", "Contacts", "Form", "Profile", "Upload"),
    "pyrus.signature": ("sign",),
    "pyrus_client.api": ("Pages", "Pyrus"),
    "pyrus_client.call": ("Call",),
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
