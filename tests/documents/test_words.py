"""Comments and docstrings are plain sentences; names are nouns, not participles."""

import ast
import io
import re
import tokenize
from collections import Counter
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = (
    "labels/lexiseg_labels",
    "model/lexiseg_model",
    "model/lexiseg_train",
    "model/lexiseg_falcon",
    "service/lexiseg_service",
    "clients/python/lexiseg_client",
)
# Fields of the JSON interface, which its promise keeps.
PROMISED = frozenset({"done", "found", "kept", "lost"})
RARE = re.compile(r"\b(whose|beside|those|alone)\b", re.IGNORECASE)
PARTICIPLE = re.compile(
    "answered|asked|begun|brought|chosen|come|done|drawn|found|given|gone|got|held|kept|known|lost|made|meant|met"
    "|needed|passed|said|seen|sent|shown|taken|told|tried|waited|wanted|written"
)


class Words(NamedTuple):
    """What a package says: comments and docstrings, names, and (file:line, text) of descriptions in its interfaces."""

    prose: list[str]
    names: list[str]
    descriptions: list[tuple[str, str]]


@cache
def words_of(package: str) -> Words:
    words = Words([], [], [])
    paths = [path for path in sorted((ROOT / package).rglob("*.py")) if "_pb2" not in path.name]
    assert paths, package
    for path in paths:
        source = path.read_text(encoding="utf-8")
        tokens = tokenize.generate_tokens(io.StringIO(source).readline)
        words.prose.extend(token.string for token in tokens if token.type == tokenize.COMMENT)
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                words.prose.append(ast.get_docstring(node) or "")
            match node:
                case ast.AnnAssign(target=ast.Name(id=name) as field) if name in PROMISED:
                    field.ctx = ast.Load()  # no longer one that is stored
                case ast.ClassDef(name=name) | ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                    words.names.append(name)
                case ast.arg(arg=name) | ast.Name(id=name, ctx=ast.Store()) | ast.Attribute(attr=name, ctx=ast.Store()):
                    words.names.append(name)
                case ast.keyword(arg="description" | "help", value=ast.Constant(value=str(text))):
                    words.descriptions.append((f"{path.relative_to(ROOT)}:{node.lineno}", text))
    return words


def test_at_most_12_rare_words_in_10_000() -> None:
    texts = [text for package in PACKAGES for text in words_of(package).prose]
    n_words = sum(len(re.findall(r"[A-Za-z][A-Za-z'-]*", text)) for text in texts)
    rare = Counter(word.lower() for text in texts for word in RARE.findall(text))
    assert 10_000 * rare.total() <= 12 * n_words, f"{rare} in {n_words:,} words"


@pytest.mark.parametrize("package", PACKAGES)
def test_at_most_one_name_in_1_000_is_a_participle(package: str) -> None:
    bound = [name.strip("_").lower() for name in words_of(package).names]
    participles = Counter(name for name in bound if PARTICIPLE.fullmatch(name))
    assert 1_000 * participles.total() <= len(bound), f"{participles} in {len(bound):,} names"


# OpenAPI and --help show a description without the line before.
FRAGMENT = re.compile(
    r"(above|among|and|as|at|below|between|by|for|from|how|in|is|of|on|or|than|that|these|those|to|what|where|which|with)\b"
)


def test_no_description_begins_in_the_middle_of_a_sentence() -> None:
    told = [line for package in PACKAGES for line in words_of(package).descriptions]

    assert len(told) > 500
    assert [line for line in told if FRAGMENT.match(line[1])] == []
