"""The grammar of bots.ini, line by line."""

from hypothesis import example, given
from hypothesis import strategies as st

from bothost.config.ini import IniDocument, parse


def texts(content: str) -> dict[str, str]:
    document = parse(content.encode(), "bots.ini")
    assert not document.problems
    assert not any(section.problems for section in document.sections.values())
    return {item.key: item.text for section in document.sections.values() for item in section.items.values()}


def wrongs(content: str) -> list[str]:
    document = parse(content.encode(), "bots.ini")
    return [str(problem) for problem in every(document)]


def every(document: IniDocument) -> list[object]:
    return [*document.problems, *(problem for section in document.sections.values() for problem in section.problems)]


def test_every_sign_in_a_value_is_literal() -> None:
    assert texts("[bot:a]\nsecret = a%b%(c)s$d${e}#f;g = h  # i\n") == {"secret": "a%b%(c)s$d${e}#f;g = h  # i"}


def test_a_remark_is_a_line_whose_first_character_says_so() -> None:
    assert texts("; one\n[s]\n# two\na = 1\n;b = 2\n  # three\n") == {"a": "1\n# three"}


def test_a_line_that_begins_with_a_blank_continues_the_value() -> None:
    assert texts("[s]\na = one\n  two\n\tthree\nb =\n four\n") == {"a": "one\ntwo\nthree", "b": "four"}


def test_remarks_and_empty_lines_may_stand_inside_a_value() -> None:
    assert texts("[s]\na = one\n; remark\n\n  two\n\nb = 3\n") == {"a": "one\n\ntwo", "b": "3"}


def test_a_bom_and_crlf_are_fine() -> None:
    document = parse(b"\xef\xbb\xbf[host]\r\nport = 1\r\n\r\n  \r\n", "bots.ini")
    assert not every(document)
    assert document.sections["host"].items["port"].text == "1"


def test_blanks_around_key_and_value_do_not_count() -> None:
    assert texts("[s]  \na=1\nb\t=\t 2 \nc =\n") == {"a": "1", "b": "2", "c": ""}


def test_a_cyrillic_key_is_a_key_in_either_unicode_form() -> None:
    assert texts("[s]\nдоверенный = да\n") == {"доверенный": "да"}
    assert texts("[s]\nдоверенныи\u0306 = да\n") == {"доверенный": "да"}


def test_twice_is_an_error_that_names_both_lines() -> None:
    assert wrongs("[s]\na = 1\nb = 2\na = 3\n") == ["bots.ini:4: [s] a: the key is given twice: first in line 2"]
    assert wrongs("[s]\na = 1\n[t]\n[s]\nb\n") == [
        "bots.ini:4: [s] the section is given twice: first in line 1",
        "bots.ini:5: [s] cannot be understood: expected key = value, [section] or a remark after ; or #",
    ]


def test_every_bad_line_is_told_with_its_number() -> None:
    content = "a = 1\n[s\nb = 2\n[t]\n  c\nd: 4\n= 5\ne f = 6\n[u] ; why\n[]\n"
    lines = [one.split(":")[1] for one in wrongs(content)]
    assert sorted(map(int, lines)) == [1, 2, 3, 5, 6, 7, 8, 9, 10]


def test_a_colon_gets_the_hint_to_write_an_equals_sign() -> None:
    assert wrongs("[s]\nd: 4\n") == ["bots.ini:2: [s] cannot be understood: write key = value"]


def test_control_characters_are_errors_and_never_repeated() -> None:
    (problem,) = wrongs("[s]\na = x\x1b[31m\n")
    assert "control character" in problem
    assert "\x1b" not in problem


def test_odd_line_separators_end_no_line() -> None:
    assert len(wrongs("[s]\na = 1\u2028b = 2\n")) == 1
    assert texts("[s]\na = 1\u00a0\n") == {"a": "1\u00a0"}


def test_other_encodings_are_named() -> None:
    assert "UTF-16" in str(parse("[s]\na = 1\n".encode("utf-16"), "bots.ini").problems[0])
    assert (
        str(parse(b"[s]\na = \xff\n", "bots.ini").problems[0])
        == "bots.ini:2: the text is not UTF-8: save the file as UTF-8"
    )


@given(st.binary())
@example(b"\xef\xbb\xbf")
@example(b"[")
@example(b" ")
def test_any_bytes_whatever_can_be_read(content: bytes) -> None:
    parse(content, "bots.ini")


@given(
    st.dictionaries(
        st.from_regex(r"[a-z]{1,8}", fullmatch=True), st.text(alphabet=st.characters(exclude_categories=["C", "Z"]))
    )
)
def test_what_is_written_is_read(items: dict[str, str]) -> None:
    assert texts("[s]\n" + "".join(f"{key} = {value}\n" for key, value in items.items())) == items


def test_a_section_with_a_control_character_in_its_name_is_wrong_and_not_printed() -> None:
    document = parse(b"[bot:a\x1b[31m]\nplugin = x\n", "bots.ini")
    assert "holds an invisible control character" in str(document.problems[0])
    assert "\x1b" not in "".join(map(str, document.problems))
