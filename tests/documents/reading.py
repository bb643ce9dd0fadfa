"""The fenced blocks of the project's Markdown files, and the commands in their shell blocks."""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from lexiseg_service.gateway.rest.pages import WEB

ROOT = Path(__file__).resolve().parents[2]
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
CONTINUED = ("\\", "|", "&&")


@dataclass(frozen=True)
class Block:
    """A fenced block; `line` is that of its first line of text, `language` is empty where the fence names none."""

    document: str
    line: int
    language: str
    text: str


@dataclass(frozen=True)
class Command:
    """One command of a shell block, possibly of several lines."""

    document: str
    line: int
    text: str

    @property
    def bare(self) -> str:
        """The command without comments."""
        return re.sub(r"\s+#.*$", "", self.text, flags=re.MULTILINE).strip()


def documents() -> list[str]:
    """The project's Markdown files, and what a service tells agents; relative to the root."""
    files = [path for folder in (".", "docs", "clients/python") for path in (ROOT / folder).glob("*.md")]
    return sorted(path.relative_to(ROOT).as_posix() for path in [*files, WEB / "llms.txt"])


def blocks(document: str, language: str | None = None) -> list[Block]:
    """The blocks of a document in their order, of one language if it is given."""
    text = (ROOT / document).read_text(encoding="utf-8")
    every = [
        Block(document, text.count("\n", 0, match.start()) + 2, match[1], match[2]) for match in FENCE.finditer(text)
    ]
    return [block for block in every if language in (None, block.language)]


@cache
def commands(document: str) -> tuple[Command, ...]:
    """The commands of all shell blocks of a document.

    Raises:
        AssertionError: a block ends in the middle of a command.
    """
    return tuple(command for block in blocks(document, "sh") for command in _commands(block))


def _commands(block: Block) -> Iterator[Command]:
    begun: list[str] = []
    for number, line in enumerate(block.text.splitlines(), block.line):
        if not begun and (not line.strip() or line.startswith("#")):
            continue
        begun.append(line)
        text = "\n".join(begun)
        if _is_whole(text):
            yield Command(block.document, number + 1 - len(begun), text)
            begun = []
    assert not begun, f"{block.document}:{block.line}: ends in the middle of {begun}"


def _is_whole(text: str) -> bool:
    if text.rstrip().endswith(CONTINUED):
        return False
    try:
        shlex.split(text, comments=True)
    except ValueError:  # an open quotation
        return False
    return True
