"""The operator's token where bots.ini gives none."""

import stat
from pathlib import Path

from bothost.operator import access_token


def test_a_token_is_made_once_for_the_owner_alone(tmp_path: Path) -> None:
    token, made = access_token.ensure(tmp_path)
    again, made_again = access_token.ensure(tmp_path)
    assert (made, made_again) == (True, False)
    assert token == again
    assert len(token.reveal()) >= 43
    assert stat.S_IMODE(access_token.path_of(tmp_path).stat().st_mode) == 0o600
    assert token.reveal() not in repr(token)


def test_a_new_token_takes_the_place_of_the_old_one(tmp_path: Path) -> None:
    old, _ = access_token.ensure(tmp_path)
    new = access_token.make(tmp_path)
    assert new != old
    assert access_token.stored(tmp_path) == new
    assert [path.name for path in tmp_path.iterdir()] == ["operator-token"]


def test_without_a_token_there_is_none(tmp_path: Path) -> None:
    assert access_token.stored(tmp_path) is None
