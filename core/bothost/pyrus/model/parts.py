"""The small parts of tasks and comments, with every key Pyrus is known to send in them.

Empty values are left out by Pyrus, or sent as `""` on persons; unknown keys come with time and are passed over.
"""

from typing import Annotated

from bothost.pyrus.model.lenient import Digits, Json, forgiving


@forgiving
class Messenger:
    """A person's name in a messenger."""

    type: str | None
    nickname: str | None


@forgiving
class BirthDate:
    """A birthday; the year is often left out."""

    day: int | None
    month: int | None
    year: int | None


@forgiving
class Person:
    """A user, a bot or a role: `type` says which, if Pyrus sends it. Persons are equal if they have one known id."""

    id: int | None
    first_name: str | None
    last_name: str | None
    native_first_name: str | None
    native_last_name: str | None
    email: str | None
    type: str | None
    external_id: str | None
    department_id: Digits
    department_name: str | None
    banned: bool | None
    fired: bool | None
    task_receiver: int | None
    position: str | None
    skype: str | None
    phone: str | None
    mobile_phone: str | None
    login_phone: str | None
    status: str | None
    location: str | None
    personality: str | None
    personnel_number: str | None
    locale: str | None
    avatar_id: int | None
    external_avatar_id: int | None
    organization_id: int | None
    vacation_days: int | None
    messenger: Messenger | None
    birth_date: BirthDate | None
    rights: Json
    two_factor_auth: bool | None
    mobile_session_settings: Json

    @property
    def name(self) -> str:
        """ "First Last", a role's title (which Pyrus sends as a last name), or ""."""
        return " ".join(name for name in (self.first_name, self.last_name) if name)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Person) and self.id is not None and self.id == other.id

    def __hash__(self) -> int:
        return hash(self.id)


@forgiving
class Role:
    """A role in whose name a comment was written."""

    id: int | None
    name: str | None
    external_id: str | None
    avatar_id: int | None
    banned: bool | None
    fired: bool | None
    member_ids: tuple[int, ...]


@forgiving
class File:
    """An attachment. Its `url` may be at any host; download it by its id."""

    id: Digits
    name: str | None
    size: int | None
    md5: str | None
    url: str | None
    version: int | None
    root_id: Digits
    """The first version's id, if there are several."""


@forgiving
class Approval:
    """A person on a step: `approval_choice` in a task, `step` in a comment's changes."""

    person: Person
    """Who is asked; never None: `approval.person.email`."""
    approval_choice: str | None
    """What they decided: `"waiting"`, `"approved"`, `"rejected"`, `"revoked"` or `"acknowledged"`."""
    step: int | None
    """The step, such as `2`, in the changes of a comment; in a task the place in `task.approvals` tells it."""


@forgiving
class Subscriber:
    """A person who follows a task, or is asked to acknowledge it."""

    person: Person
    approval_choice: str | None
    settings: Json


@forgiving
class Step:
    """A step of a form's route; the numbers may have gaps."""

    step: int | None
    name: str | None
    elapsed_time: int | None
    """Milliseconds, by Pyrus's own library."""


@forgiving
class Address:
    """One end of an outside conversation."""

    email: str | None
    name: str | None


@forgiving
class Channel:
    """The outside conversation a comment came from or went to; without one it is an internal note."""

    type: str | None
    """The kind of conversation, such as `"email"`, `"telegram"` or `"web"`; an open set."""
    direction: str | None
    """Which way it went: `"inbound"` or `"outbound"`."""
    to: Address | None
    """Who it went to: `channel.to.email`."""
    sender: Annotated[Address | None, "from"]
    """JSON's `from`, which is no name in Python: `channel.sender.email`."""
    phone: str | None
    """The number of a call or an SMS, such as `"+74951234567"`."""
    integration_id: Digits
    """The id of the integration that brought it, such as `77`."""


@forgiving
class SmsInfo:
    """The fate of an SMS."""

    status: str | None
    error_code: str | None
    error_message: str | None
    sent_comment_id: int | None
