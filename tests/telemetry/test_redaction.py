"""Nothing that is known as secret gets through, and nothing unseen."""

import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bothost.telemetry.redaction import MASK, Scrubber
from bothost.text import visible

KEY = "VtBOEesdOnIcqGaWQeFkWFqyzgdt2PGs"


def scrubber(*secrets: str) -> Scrubber:
    made = Scrubber()
    for secret in secrets:
        made.add(secret)
    return made


@pytest.mark.parametrize("before", ["", "key=", "x", "a long run of words, then ", "юникод"])
@pytest.mark.parametrize(
    "secret", [KEY, "with some blanks in it", 'quo"ted\\secret', "тайна-на-кириллице", "dollar$percent%d"]
)
def test_a_secret_is_replaced_wherever_it_stands(before: str, secret: str) -> None:
    for form in (secret, repr(secret), json.dumps(secret)):
        assert secret not in scrubber(secret).scrub(f"{before}{form} and {form}after")
        assert MASK in scrubber(secret).scrub(f"{before}{form}")


def test_several_secrets_in_one_run_are_all_replaced() -> None:
    one, two = KEY, KEY[:12] + "another-secret-with-the-same-beginning"
    assert scrubber(one, two).scrub(f"a{one}{two}{one}z {two}") == f"a{MASK}{MASK}{MASK}z {MASK}"


def test_a_secret_that_holds_another_leaves_no_rest() -> None:
    assert scrubber("inner-secret-1", "inner-secret-1-and-more").scrub("inner-secret-1-and-more") == MASK


def test_a_token_is_replaced_until_it_was_forgotten_as_often_as_added() -> None:
    made = scrubber(KEY, KEY)
    made.forget(KEY)
    assert made.scrub(KEY) == MASK
    made.forget(KEY)
    made.forget(KEY)
    assert made.scrub(KEY) == KEY


def test_forgetting_one_leaves_others_with_the_same_beginning() -> None:
    made = scrubber(KEY, KEY + "x")
    made.forget(KEY + "x")
    assert made.scrub(KEY) == MASK


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ('{"access_token": "abcdefgh", "task_id": 5}', f'{{"access_token": "{MASK}", "task_id": 5}}'),
        ("Authorization: Bearer abc.def", f"Authorization: Bearer {MASK}"),
        ("postgresql://bots:pass@word@db/bots", f"postgresql://bots:{MASK}@word@db/bots"),
        ("{'security_key': 'abcdefgh'}", f"{{'security_key': '{MASK}'}}"),
        ("https://pyrus.com:443/t#id5", "https://pyrus.com:443/t#id5"),
        ("the token was refused", "the token was refused"),
    ],
)
def test_what_looks_like_a_secret_is_replaced_unasked(text: str, shown: str) -> None:
    assert Scrubber().scrub(text) == shown


@pytest.mark.parametrize("token", ["", "a", "seven77"])
def test_a_token_as_short_as_a_word_masks_nothing(token: str) -> None:
    made = scrubber(token)
    made.remember(token)
    assert made.scrub("a banana and seven77 more") == "a banana and seven77 more"
    assert not made.knows("a banana and seven77 more")


def test_the_newest_ten_thousand_tokens_are_replaced() -> None:
    made = Scrubber()
    for number in range(10_001):
        made.remember(f"token-{number:05}")
        made.remember(f"token-{number:05}")
    assert made.scrub("token-00000 token-00001 token-10000") == f"token-00000 {MASK} {MASK}"


def test_the_cost_does_not_grow_with_the_number_of_secrets() -> None:
    few, many = scrubber(KEY), scrubber(*(f"{n:05}{KEY}" for n in range(20_000)))
    line = "a line of the usual kind with a longer-word-of-thirty-characters in it"

    def cost(made: Scrubber) -> float:
        began = time.process_time()
        for _ in range(2_000):
            made.scrub(line)
        return time.process_time() - began

    assert min(cost(many) for _ in range(3)) < 5 * min(cost(few) for _ in range(3)) + 0.01


@given(
    st.text(min_size=8, max_size=40).filter(lambda secret: len(max(secret.split() or [""], key=len)) >= 8),
    st.text(),
    st.text(),
)
def test_no_secret_with_a_run_of_eight_gets_through(secret: str, before: str, after: str) -> None:
    shown = scrubber(secret).scrub(before + secret + after)
    assert secret not in shown or secret in MASK


def test_unseen_characters_are_shown_and_words_of_any_language_stay() -> None:
    assert visible("a\x1b[31m\u202eb\u200b\n\x9b") == "a\\x1b[31m\\u202eb\\u200b\\n\\x9b"
    assert visible("a\n\tb\x1b", lines=True) == "a\n\tb\\x1b"
    assert visible("Привет, 世界 🙂 é\u00a0") == "Привет, 世界 🙂 é\u00a0"
    assert visible("\ud800") == "\\ud800"
