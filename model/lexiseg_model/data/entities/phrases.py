"""Entities of a sentence, with the words that describe them: "a child in plaid shirt" -> "child", "plaid shirt"."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any, Literal

import yaml

from lexiseg_model.errors import OptionError

Parser = Literal["spacy", "plain"]
Phrases = Callable[[str], tuple[str, ...]]

SPACY_MODEL = "en_core_web_sm"
MOST_WORDS = 5  # of an entity
VERBAL = re.compile(r"[a-z]{3,}ing")


@cache
def _words(kind: str) -> frozenset[str]:
    """Of `words.yaml`."""
    listed = yaml.safe_load(Path(__file__).with_name("words.yaml").read_text())
    return frozenset(listed[kind].split())


def phrases_by(parser: Parser, model: str = SPACY_MODEL) -> Phrases:
    """A function from a sentence to its entities.

    Args:
        parser: `spacy` takes the noun chunks of a trained pipeline, `plain` splits at words that are of no entity.
        model: spaCy's pipeline.

    Raises:
        OptionError: spaCy or its pipeline is not installed; says how to have them.
    """
    if parser == "plain":
        return plain_phrases
    pipeline = _pipeline(model)
    return lambda text: _distinct(_stripped(chunk.text.lower()) for chunk in pipeline(text).noun_chunks)


def plain_phrases(text: str) -> tuple[str, ...]:
    """What stands between words of no entity; knows no grammar, and takes an unknown verb for a noun."""
    phrases: list[list[str]] = [[]]
    for word in re.findall(r"[a-z]+(?:['-][a-z]+)*|[^\w\s]", text.lower()):
        verbal = VERBAL.fullmatch(word) and word not in _words("nouns_in_ing")
        if _is_of_none(word) or verbal or not word[0].isalpha():
            phrases.append([])
        else:
            phrases[-1].append(word)
    return _distinct(" ".join(words[-MOST_WORDS:]) for words in phrases)


def _stripped(chunk: str) -> str:
    """A noun chunk without the words before its first describing one; nothing where it is a pronoun alone."""
    words = re.findall(r"[a-z]+(?:['-][a-z]+)*", chunk)
    while words and _is_of_none(words[0]):
        words.pop(0)
    return " ".join(words[-MOST_WORDS:])


def _is_of_none(word: str) -> bool:
    return word in _words("before") or word in _words("between")


def _distinct(phrases: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(phrase for phrase in phrases if len(phrase) > 2))


def _pipeline(model: str) -> Any:
    try:
        spacy = import_module("spacy")
    except ModuleNotFoundError:
        raise OptionError(
            f"the parser spacy needs spaCy and its pipeline {model}, which are not installed (https://spacy.io/usage); "
            "--parser plain needs nothing"
        ) from None
    try:
        return spacy.load(model)
    except OSError:
        raise OptionError(f"spaCy has no pipeline {model!r} here: python -m spacy download {model}") from None
