"""Descriptions of fields and options stand alone: OpenAPI and --help show them without the line before."""

import ast
import re
from collections.abc import Iterator

from tests.test_architecture import PACKAGES, ROOT, modules

FRAGMENT = re.compile(
    r"(above|among|and|as|at|below|between|by|for|from|how|in|is|of|on|or|than|that|these|those|to|what|where|which|with)\b"
)


def descriptions() -> Iterator[tuple[str, str]]:
    """(file:line, text) of each literal `description` or `help` of a call."""
    for path in (path for root in PACKAGES for path in modules(root)):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            match node:
                case ast.keyword(arg="description" | "help", value=ast.Constant(value=str(text))):
                    yield f"{path.relative_to(ROOT)}:{node.lineno}", text


def test_no_description_begins_in_the_middle_of_a_sentence() -> None:
    told = list(descriptions())

    assert len(told) > 500
    assert [line for line in told if FRAGMENT.match(line[1])] == []
