"""The Markdown pages of this project, and what can be read from them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent

ROOT = Path(__file__).resolve().parents[2]

_FENCE = re.compile(r"^( *)```(\w*)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#+ +(.+)$", re.MULTILINE)


@dataclass(frozen=True)
class Page:
    """One file, named by its path from the top of the project."""

    name: str

    @property
    def path(self) -> Path:
        return ROOT / self.name

    @property
    def text(self) -> str:
        return self.path.read_text(encoding="utf-8")

    @property
    def prose(self) -> str:
        """The text without its fenced code."""
        return _FENCE.sub("", self.text)

    @property
    def links(self) -> list[str]:
        return _LINK.findall(self.prose)

    @property
    def anchors(self) -> set[str]:
        """What a heading can be linked to by, as GitHub makes it."""
        return {_anchor(heading) for heading in _HEADING.findall(self.prose)}

    def code(self, language: str) -> Iterator[str]:
        """The fenced code in `language`."""
        for _, found, body in _FENCE.findall(self.text):
            if found == language:
                yield dedent(body)

    def __str__(self) -> str:
        return self.name


def all_pages() -> list[Page]:
    """Those at the top, in docs and in the example project."""
    paths = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("example_project/**/*.md")]
    return [Page(str(path.relative_to(ROOT))) for path in sorted(paths)]


def reference(name: str) -> str:
    """The text of a page of the reference."""
    return Page(f"docs/reference/{name}.md").text


def _anchor(heading: str) -> str:
    kept = re.sub(r"[^\w\- ]", "", heading.lower())
    return kept.strip().replace(" ", "-")
