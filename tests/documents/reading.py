"""What documents tell a reader to type: their fenced blocks, and the commands in those of the shell."""

from __future__ import annotations

import re
import shlex
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
# What a line begins with that is meant to be typed.
TYPED = re.compile(r"\$? ?(?:[A-Z_]+=\S+ )*(?:lexiseg|curl|docker|pip|python|make|grpcurl|locust|buf|redis-cli|git) \S")

# What a command that ends elsewhere than its quotations may hold: groups, substitutions, here-documents, keywords.
GROUPS = re.compile(r"[(){}<`]|\b(?:if|for|while|until|case|select|function)\b")


@dataclass(frozen=True)
class Block:
    """A fenced block; `line` is that of its first line of text, `language` is empty where the fence says none."""

    document: str
    line: int
    language: str
    text: str


@dataclass(frozen=True)
class Command:
    """One command of a shell block, with the lines that it goes on over."""

    document: str
    line: int
    text: str

    @property
    def bare(self) -> str:
        """Without the comment at its end."""
        return re.sub(r"\s+#.*$", "", self.text, flags=re.MULTILINE).strip()


def documents() -> list[str]:
    """The project's Markdown files, relative to the root."""
    inside = [
        path for folder in (".", "docs", "docs/performance", "clients/python") for path in (ROOT / folder).glob("*.md")
    ]
    return sorted(path.relative_to(ROOT).as_posix() for path in inside)


def blocks(document: str) -> list[Block]:
    text = (ROOT / document).read_text(encoding="utf-8")
    return [
        Block(document, text.count("\n", 0, found.start()) + 2, found[1], found[2]) for found in FENCE.finditer(text)
    ]


@cache
def commands(document: str) -> tuple[Command, ...]:
    """Of all shell blocks, in their order.

    Raises:
        AssertionError: a block ends in the middle of a command.
    """
    return tuple(command for block in blocks(document) if block.language == "sh" for command in _commands_of(block))


def _commands_of(block: Block) -> Iterator[Command]:
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
    bare = text.rstrip()
    if bare.endswith(("\\", "|", "&&")):
        return False
    try:
        shlex.split(text, comments=True)
    except ValueError:  # a quotation goes on
        return False
    return not GROUPS.search(text) or subprocess.run(["bash", "-n", "-c", text], capture_output=True).returncode == 0


def typed_outside_shell_blocks(document: str) -> list[str]:
    """Lines to be typed that stand in a block of no language, or in an indented one."""
    text = (ROOT / document).read_text(encoding="utf-8")
    untagged = [line for block in blocks(document) if not block.language for line in block.text.splitlines()]
    indented = [line for line in FENCE.sub("", text).splitlines() if line.startswith("    ")]
    return [line for line in (*untagged, *indented) if TYPED.match(line.strip())]
