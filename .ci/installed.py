"""The installed wheel, not the tree: the demo answers, and the page serves its templates and static files.

python .ci/installed.py PATH/TO/bothost      (in a folder with a bots.ini)
"""

import json
import os
import re
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

HELLO = {"text": "Hello, test@pyrus.com. This task approved by bot.", "approval_choice": "approved"}


def fetch(url: str) -> bytes:
    """The body of a 200."""
    with urllib.request.urlopen(url, timeout=10) as answer:
        body: bytes = answer.read()
        return body


def read_json(demo: "subprocess.Popen[str]") -> dict[str, object]:
    """The first JSON object that the demo prints."""
    assert demo.stdout is not None
    text = ""
    for line in demo.stdout:
        text += line
        try:
            told: dict[str, object] = json.loads(text)
        except ValueError:
            continue
        return told
    raise SystemExit(f"the demo ended: {text}")


def main() -> int:
    """Raises where something is missing."""
    command = [sys.argv[1], "demo", "--json"]
    where = subprocess.run(
        [Path(sys.argv[1]).parent / "python", "-c", "import bothost; print(bothost.__file__)"],
        capture_output=True, text=True, check=True, env={**os.environ, "PYTHONPATH": ""},
    ).stdout  # fmt: skip
    assert "site-packages" in where, f"not the installed package: {where}"
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as demo:
        told = read_json(demo)
        replies = {row["bot"]: row["reply"] for row in told["deliveries"]}  # type: ignore[attr-defined]
        assert replies["autoreply"] == HELLO, replies
        page = str(told["page"]).rstrip("/")
        login = fetch(f"{page}/login").decode()
        files = set(re.findall(r'(?:href|src)="(/static/[^"]+)"', login))
        assert files, "the login page names no static file"
        sizes = {name: len(fetch(page + name)) for name in sorted(files)}
        assert all(sizes.values()), sizes
        demo.send_signal(signal.SIGTERM)
        assert demo.wait(60) == 0, demo.returncode
    print(f"the installed wheel serves: {sizes}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
