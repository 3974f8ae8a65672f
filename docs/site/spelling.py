"""Print the words of the documents that no dictionary has. Exit code 1 if there are any.

hunspell knows English and Russian; words.txt beside this file has what else is right. Code, addresses and names in backticks are
left out. Needs Debian's hunspell, hunspell-en-gb and hunspell-ru.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
WORDS = Path(__file__).parent / "words.txt"
NO_PROSE = re.compile(
    r"^ *```.*?^ *```$|`[^`]*`|\]\([^)]*\)|https?://\S+|<[^>]+>|\S*[/_@=]\S*|\b[A-Z]{2,}s?\b|\w*\d\w*|\b[A-Z]\w*[A-Z]\w*",
    re.MULTILINE | re.DOTALL,
)


def documents() -> list[Path]:
    """Return every document that a reader may be led to."""
    folders = ("docs", "plugins", "examples", ".github")
    return [*sorted(ROOT.glob("*.md")), *(path for folder in folders for path in sorted((ROOT / folder).rglob("*.md")))]


def main() -> int:
    """Compare all documents with the dictionaries."""
    if not Path("/usr/bin/hunspell").exists():
        sys.exit("spelling needs hunspell: apt install hunspell hunspell-en-gb hunspell-ru")
    used: dict[str, set[str]] = {}
    for path in documents():
        text = NO_PROSE.sub(" ", path.read_text("utf-8")).replace("’", "'")
        for word in re.findall(r"[^\W\d_]+(?:'[^\W\d_]+)?", text):
            used.setdefault(word.removesuffix("'s"), set()).add(str(path.relative_to(ROOT)))
    said = subprocess.run(
        ["/usr/bin/hunspell", "-l", "-i", "utf-8", "-d", "en_GB,ru_RU"],
        input="\n".join(sorted(used)), capture_output=True, text=True, check=True, env={"LC_ALL": "C.UTF-8", "PATH": "/usr/bin:/bin"},
    )  # fmt: skip
    known = set(WORDS.read_text("utf-8").lower().split())
    unknown = sorted(word for word in set(said.stdout.split()) & set(used) if word.lower() not in known)
    for word in unknown:
        print(f"{word}: {', '.join(sorted(used[word])[:3])}")
    if unknown:
        print(f"{len(unknown)} unknown words: correct them, or add them to {WORDS.relative_to(ROOT)}")
    return bool(unknown)


if __name__ == "__main__":
    sys.exit(main())
