"""Calls as another account: `[account:NAME]`, `accounts = NAME`, `self.pyrus_as(NAME)`."""

from __future__ import annotations

from pathlib import Path

import pytest

from bothost import Event, NoLogin, Plugin, Reply
from bothost.config import read
from bothost.testing import Harness, task

INI = """
[account:finance]
login = bot@finance
key = {key}
[bot:one]
plugin = autoreply
secret = a-secret-of-sixteen-or-more
accounts = {names}
"""


class Speaker(Plugin):
    async def handle(self, event: Event) -> Reply:
        who = await self.pyrus_as("finance").profile()
        await self.pyrus_as("finance").comment(event.task_id, Reply("From the finance department."))
        return Reply(f"{who.email}")


def test_a_bot_calls_as_an_account_that_it_names(bothost: Harness) -> None:
    answer = bothost.bot(Speaker, ini={"accounts": "finance"}).deliver(task())
    assert answer.reply.text == "bot@finance"
    assert [one.text for one in bothost.pyrus.comments()] == ["From the finance department.", "bot@finance"]
    assert len({one.person_id for one in bothost.pyrus.comments()}) == 2


def test_an_account_that_the_bot_does_not_name_is_an_error(bothost: Harness) -> None:
    answer = bothost.bot(Speaker, ini={"accounts": "hr"}).deliver(task())
    assert isinstance(answer.error, NoLogin)
    assert "no account 'finance'; its key accounts names hr" in str(answer.error)


@pytest.mark.parametrize(
    ("key", "names", "said"),
    [
        ("a-key-of-sixteen-or-more", "finance", ""),
        ("a-key-of-sixteen-or-more", "finanse", "no [account:finanse]"),
        ("short", "finance", "shorter than 16"),
        ("env:NO_SUCH_KEY", "", "no variable NO_SUCH_KEY"),
    ],
)
def test_check_reads_accounts(tmp_path: Path, key: str, names: str, said: str) -> None:
    path = tmp_path / "bots.ini"
    path.write_text(INI.format(key=key, names=names))
    reading = read(path, {})
    problems = " ".join(str(problem) for problem in reading.all_problems())
    assert (said in problems) if said else (not problems and reading.bots["one"].accounts[0].login == "bot@finance")
    assert key not in repr(reading.accounts)


def test_an_account_needs_login_and_key_and_takes_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "bots.ini"
    path.write_text("[account:x]\nlogni = bot@x\n[acount:y]\n")
    problems = " ".join(str(problem) for problem in read(path, {}).all_problems())
    for said in ("has no login", "has no key", "logni", "[account:NAME]"):
        assert said in problems
