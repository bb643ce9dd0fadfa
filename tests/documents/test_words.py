"""Comments and docstrings are plain sentences; names are nouns, not participles."""

import ast
import io
import re
import tokenize
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

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


def sources(*packages: str) -> Iterator[str]:
    for package in packages:
        paths = sorted((ROOT / package).rglob("*.py"))
        assert paths, package
        yield from (path.read_text() for path in paths if "_pb2" not in path.name)


def prose(source: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield ast.get_docstring(node) or ""
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    yield from (token.string for token in tokens if token.type == tokenize.COMMENT)


def names(source: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.AnnAssign(target=ast.Name(id=name) as field) if name in PROMISED:
                field.ctx = ast.Load()  # no longer one that is stored
            case ast.ClassDef(name=name) | ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                yield name
            case ast.arg(arg=name) | ast.Name(id=name, ctx=ast.Store()) | ast.Attribute(attr=name, ctx=ast.Store()):
                yield name


def test_at_most_12_rare_words_in_10_000() -> None:
    texts = [text for source in sources(*PACKAGES) for text in prose(source)]
    n_words = sum(len(re.findall(r"[A-Za-z][A-Za-z'-]*", text)) for text in texts)
    rare = Counter(word.lower() for text in texts for word in RARE.findall(text))
    assert 10_000 * rare.total() <= 12 * n_words, f"{rare} in {n_words:,} words"


@pytest.mark.parametrize("package", PACKAGES)
def test_at_most_one_name_in_1_000_is_a_participle(package: str) -> None:
    bound = [name.strip("_").lower() for source in sources(package) for name in names(source)]
    participles = Counter(name for name in bound if PARTICIPLE.fullmatch(name))
    assert 1_000 * participles.total() <= len(bound), f"{participles} in {len(bound):,} names"


# OpenAPI and --help show a description without the line before.
FRAGMENT = re.compile(
    r"(above|among|and|as|at|below|between|by|for|from|how|in|is|of|on|or|than|that|these|those|to|what|where|which|with)\b"
)


def descriptions() -> Iterator[tuple[str, str]]:
    """(file:line, text) of each literal `description` or `help` of a call."""
    for path in (path for root in PACKAGES for path in (ROOT / root).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            match node:
                case ast.keyword(arg="description" | "help", value=ast.Constant(value=str(text))):
                    yield f"{path.relative_to(ROOT)}:{node.lineno}", text


def test_no_description_begins_in_the_middle_of_a_sentence() -> None:
    told = list(descriptions())

    assert len(told) > 500
    assert [line for line in told if FRAGMENT.match(line[1])] == []
