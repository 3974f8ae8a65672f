"""What an author reads of events, tasks and tests tells its type, its meaning and an example, in `help` and in the reference."""

from __future__ import annotations

import inspect
import pydoc

import pytest

from bothost import Approval, Channel, Comment, Event, Field, Form, Reply, Row, Task
from bothost.pyrus.model.descriptors import HiddenValue, Member, documentation
from bothost.testing import FakePyrus, Harness

READ = (Event, Task, Comment, Field, Row, Approval, Channel, Form, Harness, FakePyrus)


def undocumented(owner: type) -> list[str]:
    """The public attributes without a type, a meaning or an example, and the methods without a meaning."""
    wrong = []
    for name in (name for name in dir(owner) if not name.startswith("_")):
        value = inspect.getattr_static(owner, name)
        if isinstance(value, HiddenValue):
            continue  # bothost's own
        doc = inspect.getdoc(value) or ""
        if isinstance(value, Member):
            typed, example = repr(value) not in ("<>", "<?>"), "`" in doc
        elif isinstance(value, property):
            typed, example = inspect.signature(value.fget).return_annotation is not inspect.Signature.empty, "`" in doc
        elif inspect.ismemberdescriptor(value) and owner is Row:
            typed, example = ": " in doc, "`" in doc
        elif inspect.ismemberdescriptor(value):
            continue  # the value as sent, which `Field.value` reads
        else:
            typed = example = True
        if not (doc and typed and example):
            wrong.append(f"{owner.__name__}.{name}")
    return wrong


@pytest.mark.parametrize("owner", READ)
def test_every_attribute_has_a_type_a_meaning_and_an_example(owner: type) -> None:
    assert undocumented(owner) == []


def test_every_key_of_a_reply_has_a_type_a_meaning_and_an_example() -> None:
    told = {name: said for base in Reply.__mro__[:2] for name, said in documentation(base).items()}
    assert set(told) >= set(Reply.__struct_fields__)
    assert [name for name in Reply.__struct_fields__ if not told[name][0] or "`" not in told[name][1]] == []


@pytest.mark.parametrize("key", ["text", "approval_choice", "field_updates", "reply_note_id"])
def test_help_shows_type_and_meaning_of_a_replys_key(key: str) -> None:
    text = pydoc.render_doc(Reply, renderer=pydoc.plaintext)
    kind, said = next(found[key] for base in Reply.__mro__[:2] if key in (found := documentation(base)))
    assert f"\n |  {key}\n |      {kind}: {said.splitlines()[0]}" in text


def test_help_shows_type_and_meaning_of_a_tasks_attribute_and_not_how_it_is_made() -> None:
    text = pydoc.render_doc(Task, renderer=pydoc.plaintext)
    assert "sent_id: " not in text
    assert "approvals = <tuple[tuple[Approval, ...], ...]>\n |      The approvers by step" in text
    assert "descriptors." not in text
