"""Make the calls of a plugin that no delivery brought: a job that is due, a request to a hook."""

from __future__ import annotations

import inspect
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

import msgspec

from bothost.errors import BothostError, HookError, ReplyError, RequestRefused
from bothost.journal.data import job_key_of, job_name_of
from bothost.journal.values import decode
from bothost.plugins.attribution import place_of_definition
from bothost.plugins.handlers import Handler
from bothost.plugins.hook_methods import key_text
from bothost.plugins.http import Request, message_of
from bothost.plugins.jobs import Job
from bothost.plugins.run_hooks import hooked
from bothost.pyrus.reply import reply as replies
from bothost.runners import Admission, HookRun, JobRun, RunFailure, RunResult
from bothost.runners.disclosure import refuse_disclosure
from bothost.runners.failures import line_of, reported, unusable
from bothost.text import visible, words_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from bothost.plugins.event import RunContext
    from bothost.plugins.loading import LoadedPlugin

NOTHING = b"{}"
LONGEST_REFUSAL = 2000


class JobCall:
    """One call for a job: what is called, and what is made of its answer."""

    def __init__(self, plugged: LoadedPlugin, given: JobRun, context: RunContext, scrub: Callable[[str], str]) -> None:
        self._given = given
        self._context = context
        self._scrub = scrub
        self._secrets = plugged.secrets
        name = job_name_of(context.id)
        self.what = f"[bot:{context.bot}] job {name}"
        self.handler: Handler | None = next((spec.handler for spec in plugged.jobs if spec.name == name), None)

    @property
    def missing(self) -> RunResult:
        """Return the end of a run whose plugin has no such job any more."""
        return RunResult(
            failure=RunFailure("raised", f"{self.what}: the plugin has no such job any more", may_rerun=False)
        )

    def begin(self) -> Any:
        """Call the method, with the hooks of `on_run` around it."""
        given, context = self._given, self._context
        assert self.handler is not None
        due = datetime.fromtimestamp(given.due, UTC)
        late = max(context.clock.now() - due, timedelta(0))
        key = job_key_of(context.id)
        job = Job(context.id, job_name_of(context.id), key, given.task, decode(given.data), due, late, context)
        return hooked(partial(self.handler.call, job), job)()

    def time_up(self) -> None:
        """See `PluginCall.time_up`: no call to Pyrus may be made any more."""
        if self._context.pyrus is not None:
            self._context.pyrus.give_up("the time of this run is over")

    def failed(self, error: BaseException) -> RunResult:
        """Return the failure that an exception of the method means."""
        return RunResult(failure=reported(error, self.what, self._scrub))

    async def finished(self, answer: Any) -> RunResult:
        """Return the method's answer as a reply to the job's task."""
        try:
            reply = await self._encoded(answer)
            refuse_disclosure(reply, self._secrets)
            if reply != NOTHING and not self._given.task:
                raise ReplyError("the job was added without task=, so there is no task to write to")
        except ReplyError as error:
            assert self.handler is not None
            return RunResult(failure=unusable(error, self.what, self.handler.call, self._scrub))
        except BothostError as error:
            return self.failed(error)
        except Exception as error:  # noqa: BLE001 - a mapping of the plugin's own may raise anything when it is read
            text = f"{self.what} returned a reply that cannot be read: {type(error).__name__}"
            return RunResult(failure=RunFailure("unusable", text, may_rerun=False, error=error))
        return RunResult(reply)

    async def _encoded(self, answer: Any) -> bytes:
        """Return the body of a reply. Names in it are looked for in the task, which is read for that, then in its form."""
        pyrus = self._context.pyrus
        if answer is None or not self._given.task or pyrus is None or not replies.needs_task(answer):
            return replies.encode(answer)
        task = await pyrus.task(self._given.task)
        reply, _ = await pyrus.with_definitions(lambda known: replies.encode(answer, task, known))
        return reply


class HookCall:
    """One call for a request to a hook: its method, or the functions that tell whether it may come in."""

    def __init__(self, plugged: LoadedPlugin, given: HookRun, context: RunContext, scrub: Callable[[str], str]) -> None:
        self._given = given
        self._context = context
        self._scrub = scrub
        self._spec = plugged.hook(given.request.hook)
        self.what = f"[bot:{context.bot}] hook {given.request.hook}"
        self._request = Request(given.request, context)
        self.handler: Handler | None = None
        if self._spec is not None:
            self.handler = Handler("guard", self._admit, is_async=True) if given.admits else self._spec.handler

    @property
    def missing(self) -> RunResult:
        """Return the end of a run whose plugin has no such hook any more."""
        return RunResult(
            failure=RunFailure("raised", f"{self.what}: the plugin has no such hook any more", may_rerun=False)
        )

    def begin(self) -> Any:
        """Call the method with the hooks of `on_run` around it, or the functions, which are no run."""
        assert self.handler is not None
        if self._given.admits:
            return self.handler.call()
        return hooked(partial(self.handler.call, self._request), self._request)()

    async def _admit(self) -> Admission:
        assert self._spec is not None
        if self._spec.guard is not None:
            given = self._spec.guard(self._request)
            passes = await given if inspect.isawaitable(given) else given
            if passes and passes is not True:  # a header's value, a match: it is there, and proves nothing
                place = place_of_definition(self._spec.guard)
                raise HookError(
                    f"the guard returned a value of type {type(passes).__name__}; only True lets a caller in"
                    + (f" ({place})" if place else "")
                )
            if not passes:
                return Admission(passes=False)
        if self._spec.once is None:
            return Admission(passes=True)
        try:
            key = self._spec.once(self._request)
            return Admission(passes=True, key=key_text(await key if inspect.isawaitable(key) else key))
        except (RequestRefused, LookupError, TypeError) as error:
            # the key stands in what the caller has sent: if it is missing there, the caller is told
            why = refusal_text(error) if isinstance(error, RequestRefused) else "the request has no key"
            return Admission(passes=True, refused=why)

    def time_up(self) -> None:
        """See `PluginCall.time_up`: no call to Pyrus may be made any more."""
        if self._context.pyrus is not None:
            self._context.pyrus.give_up("the time of this run is over")

    def failed(self, error: BaseException) -> RunResult:
        """Return the failure that an exception of the method means; one about the request is the caller's."""
        if isinstance(error, RequestRefused):
            return RunResult(failure=RunFailure("refused", refusal_text(error), may_rerun=False, error=error))
        return RunResult(failure=reported(error, self.what, self._scrub))

    async def finished(self, answer: Any) -> RunResult:
        """Return the method's answer as a response, if somebody waits for it."""
        if self._given.admits:
            return RunResult(msgspec.msgpack.encode(answer))
        if not self._given.answers:
            return RunResult()
        try:
            return RunResult(msgspec.msgpack.encode(message_of(answer)))
        except HookError as error:
            assert self.handler is not None
            place = place_of_definition(self.handler.call)
            text = line_of(f"{self.what}: {error}", self._scrub, f" ({place})" if place else "")
            return RunResult(failure=RunFailure("unusable", text, may_rerun=False, error=error))


def refusal_text(error: RequestRefused) -> str:
    """Return the text for the caller; it may hold half a character that the caller has sent."""
    return visible(words_of(error, LONGEST_REFUSAL))


def call_of(
    plugged: LoadedPlugin, given: JobRun | HookRun, context: RunContext, scrub: Callable[[str], str]
) -> JobCall | HookCall:
    """Return the call for what no delivery brought."""
    if isinstance(given, HookRun):
        return HookCall(plugged, given, context, scrub)
    return JobCall(plugged, given, context, scrub)
