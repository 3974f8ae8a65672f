"""Build the documentation site: the repository's own Markdown, and a reference made from the code.

python docs/site/build.py [FOLDER]      (build/docs unless said otherwise; English, and Russian in its folder `ru`)

The pages are read where they stand, so that they read as well in the repository. Here they get the names that the site has for
them, and their links follow. What a page links to that is no page, a unit file for instance, is a download.
"""

from __future__ import annotations

import os
import posixpath
import re
import shutil
import sys
from pathlib import Path
from typing import NamedTuple

import reference
from sphinx.cmd.build import main as sphinx

ROOT = Path(__file__).parent.parent.parent
HERE = Path(__file__).parent
PICTURES = {".png", ".svg"}
LINK = re.compile(r"(?P<head>\]\(|(?:src|srcset)=\")(?P<path>[^)#\s\"]+)(?P<anchor>#[^)\s\"]*)?(?P<tail>\)|\")")
FENCE = re.compile(r"(^ *```.*?^ *```$)", re.MULTILINE | re.DOTALL)
PICTURE_PAIR = re.compile(
    r"<picture>\s*<source[^>]*srcset=\"([^\"]+)\">\s*<img alt=\"([^\"]*)\" src=\"([^\"]+)\">\s*</picture>"
)


class Language(NamedTuple):
    """One of the two sites: its pages by the files they come from, its navigation, and what is said of generated pages."""

    code: str
    pages: dict[str, str]
    navigation: dict[str, list[str]]
    below: dict[str, dict[str, list[str]]]
    """The entries of the navigation below a page."""


def english() -> Language:
    """Return the English site: everything."""
    pages = {
        "README.md": "index.md",
        "CHANGELOG.md": "changelog.md",
        "CONTRIBUTING.md": "contributing.md",
        "CODE_OF_CONDUCT.md": "code-of-conduct.md",
        "SECURITY.md": "security-policy.md",
        "docs/README.md": "all.md",
        "docs/deploy/README.md": "deployment.md",
    }
    for path in sorted((ROOT / "docs").glob("*.md")):
        pages.setdefault(f"docs/{path.name}", path.name)
    decisions = [f"decisions/{path.name}" for path in sorted((ROOT / "docs" / "decisions").glob("*.md"))]
    pages |= {f"docs/{page}": page for page in decisions}
    for folder in ("plugins", "examples"):
        pages |= {f"{folder}/{path.parent.name}/README.md": f"{folder}/{path.parent.name}.md"
                  for path in sorted((ROOT / folder).glob("*/README.md"))}  # fmt: skip
    if (ROOT / "examples" / "README.md").exists():
        pages["examples/README.md"] = "examples.md"
    navigation = {
        "Write a bot": ["plugin-guide", "local-development", "debugging", "testing-bots", "coming-from", "examples", *_in("examples", pages), "reference/bothost",
                        "reference/testing"],
        "Ready-made bots": _in("plugins", pages),
        "Run it": ["operator-guide", "deployment", "reference/commands", "reference/bots-ini"],
        "Judge it": ["security", "performance", "licences", "security-policy", "changelog"],
        "How it works": ["design", "glossary", "testing"],
        "Take part": ["contributing", "style", "code-of-conduct", "all"],
    }  # fmt: skip
    return Language("en", pages, navigation, {"all.md": {"": [page.removesuffix(".md") for page in decisions]}})


def russian() -> Language:
    """Return the Russian site: what authors and operators read. Its other links lead to the English one."""
    pages = {"README.ru.md": "index.md", "docs/ru/deploy.md": "deployment.md"}
    pages |= {f"docs/ru/{name}.md": f"{name}.md" for name in
              ("plugin-guide", "operator-guide", "coming-from", "debugging", "local-development", "testing-bots")}  # fmt: skip
    navigation = {
        "Написать бота": ["plugin-guide", "local-development", "debugging", "testing-bots", "coming-from"],
        "Запустить и сопровождать": ["operator-guide", "deployment"],
    }
    return Language("ru", pages, navigation, {})


def _in(folder: str, pages: dict[str, str]) -> list[str]:
    return [page.removesuffix(".md") for page in pages.values() if page.startswith(f"{folder}/")]


class Staging:
    """The folder from which Sphinx reads one language."""

    def __init__(self, folder: Path, language: Language, others: dict[str, str]) -> None:
        self._folder = folder
        self._language = language
        self._others = others
        """The other language's pages, by the files they come from."""

    def fill(self) -> None:
        """Write every page that exists, and the navigation into the front page."""
        shutil.rmtree(self._folder, ignore_errors=True)
        for source, page in self._language.pages.items():
            text = (ROOT / source).read_text("utf-8")
            self._write(page, "".join(self._relinked(part, source, page) for part in FENCE.split(text)))
        if self._language.code == "en":
            for page, text in reference.pages(ROOT).items():
                self._write(page, text)
        else:
            self._write(
                f"locales/{self._language.code}/LC_MESSAGES/sphinx.po", (HERE / "russian.po").read_text("utf-8")
            )
        for page, navigation in {"index.md": self._language.navigation, **self._language.below}.items():
            path = self._folder / page
            path.write_text(path.read_text("utf-8") + self._contents(navigation), "utf-8")

    def _write(self, page: str, text: str) -> None:
        path = self._folder / page
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")

    def _contents(self, navigation: dict[str, list[str]]) -> str:
        text = ""
        for caption, pages in navigation.items():
            present = [page for page in pages if (self._folder / f"{page}.md").exists()]
            head = f":caption: {caption}\n" if caption else ""
            text += f"\n```{{toctree}}\n:hidden:\n{head}\n" + "\n".join(present) + "\n```\n"
        return text

    def _relinked(self, part: str, source: str, page: str) -> str:
        if part.lstrip().startswith("```"):
            return part
        part = PICTURE_PAIR.sub(r"![\2](\1)\n![\2](\3)", part)
        return LINK.sub(lambda match: self._link(match, source, page), part)

    def _link(self, match: re.Match[str], source: str, page: str) -> str:
        path, anchor = match["path"], match["anchor"] or ""
        if "://" in path or path.startswith("mailto:"):
            return match[0]
        target = posixpath.normpath(posixpath.join(posixpath.dirname(source), path))
        new = self._target(target, page)
        if new is None:
            sys.exit(f"{source}: {path} is neither a page of the site nor a file")
        return f"{match['head']}{new}{anchor}{match['tail']}"

    def _target(self, target: str, page: str) -> str | None:
        """Return where the site has a file of the repository: a page, the other language's page, or a copy."""
        here = posixpath.dirname(page)
        if target in self._language.pages:
            return posixpath.relpath(self._language.pages[target], here)
        if target in self._others:
            scheme = "english" if self._language.code == "ru" else "russian"
            return f"{scheme}:{self._others[target].removesuffix('.md')}.html"
        if not (ROOT / target).is_file():
            return None
        copy = target if Path(target).suffix in PICTURES else f"files/{target}"
        (self._folder / copy).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / target, self._folder / copy)
        return posixpath.relpath(copy, here)


def main() -> int:
    """Build both languages. A warning is an error."""
    out = Path(sys.argv[1] if len(sys.argv) > 1 else ROOT / "build" / "docs")
    languages = [english(), russian()]
    for language, other in zip(languages, reversed(languages), strict=True):
        if not all((ROOT / source).exists() for source in language.pages):
            sys.exit(f"missing: {[name for name in language.pages if not (ROOT / name).exists()]}")
        source = out.parent / "docs-pages" / language.code
        Staging(source, language, other.pages).fill()
        os.environ["BOTHOST_DOCS_LANGUAGE"] = language.code
        target = out if language.code == "en" else out / "ru"
        options = ["-q", "-W", "--keep-going", "-b", "html", "-c", str(HERE), "-d", f"{source}.read"]
        if code := sphinx([*options, str(source), str(target)]):
            return code
    print(f"{out}/index.html")
    return 0


if __name__ == "__main__":
    sys.exit(main())
