"""`bothost send` against a plain HTTP server that shows what came."""

from __future__ import annotations

import hashlib
import hmac
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from tests.cli.conftest import Run

SECRET = "a-secret-of-sixteen-or-more"


class Stranger(HTTPServer):
    """Keeps what it gets and answers what it is told."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.got: list[tuple[str, dict[str, str], bytes]] = []
        self.status = 200
        self.answer = b'{"text": "\\u001b[31mhello"}'
        self.repeat = False

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        stranger = self.server
        assert isinstance(stranger, Stranger)
        body = self.rfile.read(int(self.headers["Content-Length"]))
        stranger.got.append((self.path, dict(self.headers.items()), body))
        self.send_response(stranger.status)
        if stranger.repeat:
            self.send_header("X-Bothost", "repeat")
        self.send_header("Content-Length", str(len(stranger.answer)))
        self.end_headers()
        self.wfile.write(stranger.answer)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def stranger() -> Iterator[Stranger]:
    with Stranger() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def ini(tmp_path: Path, stranger: Stranger) -> Path:
    file = tmp_path / "bots.ini"
    file.write_text(
        f"[host]\nport = {stranger.server_port}\n[bot:one]\nplugin = x\nsecret = env:ONE\npath = /päth\n"
        f"[bot:two]\nplugin = x\nsecret = {SECRET}-2\nforms = 321 7\n"
    )
    file.chmod(0o600)
    return file


def signature(body: bytes, secret: str = SECRET) -> str:
    return hmac.new(secret.encode(), body, hashlib.sha1).hexdigest().upper()


def test_the_sample_is_signed_with_the_bots_secret_and_goes_to_its_path(
    run: Run, ini: Path, stranger: Stranger
) -> None:
    done = run("send", "one", ONE=SECRET)
    assert done.returncode == 0, done.stderr
    path, headers, body = stranger.got[0]
    assert path == "/p%C3%A4th"
    assert headers["X-Pyrus-Sig"] == signature(body)
    assert headers["X-Pyrus-Retry"] == "1/3"
    assert json.loads(body)["task"]["author"]["email"] == "test@pyrus.com"


def test_what_a_bot_says_cannot_drive_the_terminal(run: Run, ini: Path, stranger: Stranger) -> None:
    done = run("send", "one", ONE=SECRET)
    assert "\x1b" not in done.stdout
    assert "hello" in done.stdout


@pytest.mark.parametrize(
    ("answer", "shown"),
    [
        ('{"сумма": [1, null, true]}', '{\n  "сумма": [\n    1,\n    null,\n    true\n  ]\n}'),
        ("null", "null"),
        ("<p>Оплачено</p>", "<p>Оплачено</p>"),
    ],
)
def test_a_hooks_answer_is_shown_to_a_person_as_json_or_as_its_text(
    run: Run, ini: Path, stranger: Stranger, answer: str, shown: str
) -> None:
    ini.write_text(
        f"[host]\nport = {stranger.server_port}\n[bot:mail]\nplugin = inbox\nsecret = {SECRET}\nlogin = bot@x\n"
        f"key = {SECRET}\nid = /id\ntask = /task\ntext = {{/text}}\n"
    )
    stranger.answer = answer.encode()
    done = run("send", "mail", "--hook", "token")
    assert done.returncode == 0, done.stderr
    assert done.stdout.partition("\n")[2] == f"{shown}\n"
    assert stranger.got[0][1]["Authorization"] == f"Bearer {SECRET}"


def test_each_sample_is_a_new_event_and_times_repeats_one(run: Run, ini: Path, stranger: Stranger) -> None:
    run("send", "one", "--times", "2", ONE=SECRET)
    run("send", "one", ONE=SECRET)
    tasks = [json.loads(body)["task_id"] for _, _, body in stranger.got]
    assert tasks[0] == tasks[1] != tasks[2]


def test_the_sample_is_of_a_form_that_the_bot_takes(run: Run, ini: Path, stranger: Stranger) -> None:
    run("send", "two")
    assert json.loads(stranger.got[0][2])["task"]["form_id"] == 7


def test_places_of_the_body_can_be_changed(run: Run, ini: Path, stranger: Stranger) -> None:
    done = run("send", "two", "--set", "task.text=Привет", "--set", "task.comments.0.text=5", "--set", "event=close")
    assert done.returncode == 0, done.stderr
    body = json.loads(stranger.got[0][2])
    assert body["task"]["text"] == "Привет"
    assert body["task"]["comments"][0]["text"] == 5
    assert body["event"] == "close"


def test_a_file_is_sent_byte_for_byte(run: Run, ini: Path, stranger: Stranger, tmp_path: Path) -> None:
    content = '{"task_id" : 5,\n "x": "й"}\n'.encode()
    (tmp_path / "body.json").write_bytes(content)
    run("send", "two", "body.json", "--attempt", "2/3")
    _, headers, body = stranger.got[0]
    assert body == content
    assert headers["X-Pyrus-Retry"] == "2/3"


def test_fresh_gives_a_file_new_ids(run: Run, ini: Path, stranger: Stranger) -> None:
    task = {"task_id": 5, "task": {"id": 5, "comments": [{"id": 9, "text": "old"}, {"id": 12}]}}
    run("send", "two", "-", "--fresh", stdin=json.dumps(task))
    body = json.loads(stranger.got[0][2])
    assert body["task_id"] == body["task"]["id"] != 5
    assert body["task"]["comments"][0]["id"] == 9
    assert body["task"]["comments"][1]["id"] > 12


def test_a_signed_body_goes_to_any_url(run: Run, stranger: Stranger, tmp_path: Path) -> None:
    (tmp_path / "any.txt").write_bytes(b"whatever")
    done = run("send", "--url", f"{stranger.url}/hook?x=1", "--secret", "env:KEY", "any.txt", "--json", KEY=SECRET)
    assert done.returncode == 0, done.stderr
    path, headers, body = stranger.got[0]
    assert (path, body, headers["X-Pyrus-Sig"]) == ("/hook?x=1", b"whatever", signature(b"whatever"))
    assert json.loads(done.stdout)["status"] == 200


def test_a_refusal_is_exit_code_1_and_says_what_it_means(run: Run, ini: Path, stranger: Stranger) -> None:
    stranger.status, stranger.answer = 403, b"{}"
    done = run("send", "two")
    assert done.returncode == 1
    assert "the signature is not this bot's" in done.stdout


def test_an_answer_from_the_journal_is_named(run: Run, ini: Path, stranger: Stranger) -> None:
    stranger.repeat = True
    done = run("send", "two")
    assert "not run again; `--fresh` gives it new ids" in done.stdout
    assert json.loads(run("send", "two", "--json").stdout)["repeat"] is True


def test_a_bot_that_does_not_exist_is_answered_with_the_near_one(run: Run, ini: Path) -> None:
    done = run("send", "tow")
    assert done.returncode == 2
    assert "did you mean 'two'?" in done.stderr


def test_a_host_that_does_not_run_is_exit_code_1(run: Run, tmp_path: Path) -> None:
    (tmp_path / "bots.ini").write_text(f"[host]\nport = 1\n[bot:two]\nplugin = x\nsecret = {SECRET}\n")
    done = run("send", "two")
    assert done.returncode == 1
    assert "nothing listens at http://127.0.0.1:1/two" in done.stderr


def test_nothing_shows_the_secret(run: Run, ini: Path, stranger: Stranger) -> None:
    stranger.status = 403
    for args in (["send", "two"], ["send", "two", "--json"], ["send", "two", "--set", "x"], ["check"]):
        done = run(*args)
        assert SECRET not in done.stdout + done.stderr


@pytest.mark.parametrize("hook", [False, True], ids=["delivery", "hook"])
def test_what_is_sent_to_a_bot_with_a_sample_secret_is_for_a_demo(
    run: Run, ini: Path, stranger: Stranger, *, hook: bool
) -> None:
    section = "[bot:box]\nplugin = inbox\nsecret = sample-secret-of-box\nkey = k\nid = /id\ntask = /task\ntext = Paid\n"
    ini.write_text(ini.read_text() + section)
    done = run("send", "box", *(["--hook", "token"] if hook else []))
    assert done.returncode == 0, done.stderr
    assert [path for path, _, _ in stranger.got] == ["/box/token" if hook else "/box"]


@pytest.mark.parametrize("assignment", ["task.text", "task.text.x=1", "task.comments.7.text=1", ".=1", "=1"])
def test_a_change_that_cannot_be_made_is_exit_code_2(run: Run, ini: Path, assignment: str) -> None:
    done = run("send", "two", "--set", assignment)
    assert done.returncode == 2
    assert "--set" in done.stderr
