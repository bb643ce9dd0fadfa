"""What the documents point to is there: files, headings, pictures with words for those who cannot see them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.documents.reading import FENCE, ROOT, documents

LINK = re.compile(r"(!?)\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^()\s]+)\)")
HEADING = re.compile(r"^#{1,6} (.+)$", re.MULTILINE)
DOCUMENTS = [*documents(), *(path.relative_to(ROOT).as_posix() for path in sorted((ROOT / "examples").rglob("*.md")))]
ELSEWHERE = ("https://", "http://localhost")


class Link(NamedTuple):
    """Where a document points to; `words` are a picture's description or a link's text."""

    picture: bool
    words: str
    target: str


def prose(path: Path) -> str:
    """Without blocks of code, in which a bracket is none of Markdown's."""
    return FENCE.sub("", path.read_text(encoding="utf-8"))


def links(path: Path) -> list[Link]:
    return [Link(bool(found[1]), found[2], found[3]) for found in LINK.finditer(prose(path))]


def anchors(path: Path) -> set[str]:
    """The names that a heading has on the pages of forges: small letters, hyphens for blanks, no other signs."""
    names: set[str] = set()
    for found in HEADING.finditer(prose(path)):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", found[1]).lower()
        name = re.sub(r"[^\w\- ]", "", plain).strip().replace(" ", "-")
        double = sum(re.fullmatch(rf"{re.escape(name)}(-\d+)?", other) is not None for other in names)
        names.add(f"{name}-{double}" if double else name)
    return names


def broken(document: str) -> list[str]:
    path = ROOT / document
    wrong = []
    for _, _, target in links(path):
        if target.startswith(ELSEWHERE):
            continue
        file, _, anchor = target.partition("#")
        there = (path.parent / file).resolve() if file else path
        if (
            not there.exists()
            or not there.is_relative_to(ROOT)
            or (anchor and there.suffix == ".md" and anchor not in anchors(there))
        ):
            wrong.append(target)
    return wrong


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_link_leads_somewhere(document: str) -> None:
    assert broken(document) == []


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_picture_is_told_to_those_who_cannot_see_it(document: str) -> None:
    assert [link.target for link in links(ROOT / document) if link.picture and len(link.words) < 20] == []


def test_every_page_is_found_from_the_first() -> None:
    folder = ROOT / "docs"
    listed = {(folder / link.target.partition("#")[0]).resolve() for link in links(folder / "README.md")}

    assert set(folder.glob("*.md")) - listed == {folder / "README.md"}


def test_every_picture_is_shown_somewhere() -> None:
    shown = {(ROOT / name).parent / link.target for name in DOCUMENTS for link in links(ROOT / name) if link.picture}

    assert set((ROOT / "docs/pictures").iterdir()) <= {path.resolve() for path in shown}


def test_a_link_that_leads_nowhere_is_seen(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("tests.documents.test_links.ROOT", tmp_path)
    (tmp_path / "other.md").write_text("# A `tall` heading, twice\n\n# A `tall` heading, twice\n")
    (tmp_path / "page.md").write_text(
        "[a](other.md) [b](other.md#a-tall-heading-twice-1) [`c`](gone.md) [d](other.md#nowhere) [e](https://example.org)\n"
        "```text\n[f](in-a-block.md)\n```\n"
    )

    assert broken("page.md") == ["gone.md", "other.md#nowhere"]
