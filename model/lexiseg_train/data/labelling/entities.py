"""Entities that captions name, with their describing words: found once and kept in a listing next to the pairs.

They come from captions by noun phrases, or from a vision-language model behind an OpenAI-compatible endpoint. The
listing is written pair by pair: a killed run resumes with the missing ones.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from itertools import dropwhile
from pathlib import Path
from typing import Any, Literal, NamedTuple

import httpx
import yaml

from lexiseg_model.errors import DatasetError, OptionError, SampleError
from lexiseg_train.data.files.runs import drop_partial_line, read_ahead
from lexiseg_train.data.pairs.source import PairSource, Rewritten, Skipped, Skips, StoredPair

LISTING = "entities.jsonl"
SEPARATOR = "\n"  # between entities that replace a caption
Parser = Literal["spacy", "plain"]
Phrases = Callable[[str], tuple[str, ...]]
SPACY_MODEL = "en_core_web_sm"
MAX_WORDS = 5  # of an entity
VERBAL = re.compile(r"[a-z]{3,}ing")
MEDIA = {b"\xff\xd8": "image/jpeg", b"\x89P": "image/png", b"RI": "image/webp", b"BM": "image/bmp"}
PROMPT = (
    "Describe this photograph in one or two sentences that name everything that can be seen, with its colour, material "
    "or action. It was captioned: {captions}. Then list the entities that you named, each with its describing words "
    'and without its article, such as "plaid shirt". Answer with JSON alone: '
    '{{"description": "...", "entities": ["...", "..."]}}'
)
AHEAD = 2  # pairs that wait for each worker
MAX_FAILURES = 10  # in a row


def key_of(name: str) -> str:
    return "/".join(Path(name).parts[-2:])


def read_entities(listing: Path) -> dict[str, tuple[str, ...]]:
    """Entities by the photograph's key; a last line that was cut off is skipped."""
    if not listing.exists():
        raise DatasetError(f"there are no entities at {listing}; create them with `lexiseg data entities`")
    table = {}
    # Older listings hold captions as they are, perhaps with line separators at which `splitlines` would split.
    for number, line in enumerate(listing.read_text(encoding="utf-8").split("\n")[:-1], start=1):
        try:
            entry = json.loads(line)
            table[str(entry["name"])] = tuple(map(str, entry["entities"]))
        except (ValueError, KeyError, TypeError) as error:
            raise DatasetError(f'{listing}:{number}: expected {{"name": ..., "entities": [...]}}: {error!r}') from None
    return table


@dataclass
class WithEntities(Rewritten):
    """Pairs with their entities as the only caption, one a line; pairs without entities are broken."""

    table: Mapping[str, tuple[str, ...]]

    def read(self, index: int) -> StoredPair:
        pair = self.source.read(index)
        entities = self.table.get(key_of(pair.name), ())
        if not entities:
            raise SampleError(pair.name, "has no entities")
        return pair._replace(captions=(SEPARATOR.join(entities),))


@cache
def _word_list(kind: str) -> frozenset[str]:
    return frozenset(yaml.safe_load(Path(__file__).with_name("entity_words.yaml").read_text())[kind].split())


def phrases_by(parser: Parser) -> Phrases:
    """A function from a sentence to its entities, by noun chunks of spaCy or plainly split at function words."""
    if parser == "plain":
        return plain_phrases
    try:
        pipeline = import_module("spacy").load(SPACY_MODEL)
    except ModuleNotFoundError:
        raise OptionError(
            f"the parser spacy needs spaCy and its pipeline {SPACY_MODEL}, which are not installed "
            "(https://spacy.io/usage); --parser plain needs neither"
        ) from None
    except OSError:
        raise OptionError(f"spaCy has no pipeline {SPACY_MODEL!r}: python -m spacy download {SPACY_MODEL}") from None

    def content_words(chunk: str) -> str:
        """A noun chunk without leading function words; empty for a pronoun."""
        words = dropwhile(_is_function_word, re.findall(r"[a-z]+(?:['-][a-z]+)*", chunk))
        return " ".join([*words][-MAX_WORDS:])

    return lambda text: _distinct(content_words(chunk.text.lower()) for chunk in pipeline(text).noun_chunks)


def plain_phrases(text: str) -> tuple[str, ...]:
    """Words between function words; knows no grammar, and takes an unknown verb for a noun."""
    phrases: list[list[str]] = [[]]
    for word in re.findall(r"[a-z]+(?:['-][a-z]+)*|[^\w\s]", text.lower()):
        verbal = VERBAL.fullmatch(word) and word not in _word_list("nouns_in_ing")
        if _is_function_word(word) or verbal or not word[0].isalpha():
            phrases.append([])
        else:
            phrases[-1].append(word)
    return _distinct(" ".join(words[-MAX_WORDS:]) for words in phrases)


def _is_function_word(word: str) -> bool:
    return word in _word_list("before") or word in _word_list("between")


def _distinct(phrases: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(phrase for phrase in phrases if len(phrase) > 2))


class Described(NamedTuple):
    description: str
    entities: tuple[str, ...]


@dataclass(frozen=True)
class Endpoint:
    """An OpenAI-compatible endpoint; `url` ends with `/v1`, `key` is sent as a bearer token."""

    url: str
    model: str
    key: str | None = None
    seconds: float = 120.0  # timeout

    def __post_init__(self) -> None:
        if not self.url.startswith(("http://", "https://")):
            raise OptionError(f"endpoint {self.url!r}; expected http://HOST:PORT/v1 or https://...")

    def describe(self, pair: StoredPair) -> Described:
        media = MEDIA.get(pair.photograph[:2], "image/jpeg")
        picture = f"data:{media};base64,{base64.b64encode(pair.photograph).decode()}"
        chat = [
            {"type": "text", "text": PROMPT.format(captions="; ".join(pair.captions) or "nothing")},
            {"type": "image_url", "image_url": {"url": picture}},
        ]
        body = {"model": self.model, "temperature": 0, "messages": [{"role": "user", "content": chat}]}
        headers = {"authorization": f"Bearer {self.key}"} if self.key else {}
        try:
            response = httpx.post(
                f"{self.url.rstrip('/')}/chat/completions", json=body, headers=headers, timeout=self.seconds
            )
            response.raise_for_status()
            content = response.json()["choices"][0]["message"]["content"]
        except httpx.HTTPStatusError as error:
            reason = f"{self.url} answered {error.response.status_code}: {error.response.text[:200]}"
            raise SampleError(pair.name, reason) from None
        except (httpx.HTTPError, ValueError, KeyError, IndexError, TypeError) as error:
            raise SampleError(pair.name, f"{self.url} gave no answer: {error!r}") from None
        return _parse_answer(pair.name, content)


def _parse_answer(name: str, content: object) -> Described:
    match = re.search(r"\{.*\}", str(content), re.DOTALL)
    try:
        entry: Any = json.loads(match[0]) if match else None
        entities = tuple(dict.fromkeys(_one_line(entity) for entity in entry["entities"]))
        return Described(_one_line(entry.get("description", "")), tuple(filter(None, entities)))
    except (ValueError, KeyError, TypeError, AttributeError):
        raise SampleError(name, f"expected JSON with entities, the model answered {content!r:.120}") from None


def _one_line(text: object) -> str:
    if not isinstance(text, str):
        raise TypeError(f"{text!r} is not text")
    return " ".join(text.replace(SEPARATOR, " ").split())


Describe = Callable[[StoredPair], Described]


class EntityCounts(NamedTuple):
    new: int
    before: int
    failed: int


def from_captions(phrases: Phrases) -> Describe:
    """Entities of all captions of a pair; the captions are its description."""

    def describe(pair: StoredPair) -> Described:
        entities = dict.fromkeys(phrase for caption in pair.captions for phrase in phrases(caption))
        return Described(" ".join(pair.captions), tuple(entities))

    return describe


def write_entities(
    source: PairSource, listing: Path, describe: Describe, workers: int = 1, on_pair: Callable[[], None] = lambda: None
) -> EntityCounts:
    """Append the entities of pairs that the listing lacks; failures are recorded in `LISTING.failed`."""
    earlier = set(read_entities(listing)) if listing.exists() else set()
    failed = Skips(listing.with_name(f"{listing.name}.failed"))
    new = before = in_a_row = 0
    listing.parent.mkdir(parents=True, exist_ok=True)
    drop_partial_line(listing)
    with listing.open("a", encoding="utf-8") as lines:

        def attempt(index: int) -> tuple[str, Described | Skipped | None]:
            try:
                pair = source.read(index)
                return key_of(pair.name), None if key_of(pair.name) in earlier else describe(pair)
            except SampleError as error:
                return key_of(error.sample), Skipped(key_of(error.sample), error.reason)

        for _, (key, outcome) in read_ahead(range(sum(source.sizes)), attempt, workers * AHEAD, workers):
            if outcome is None:
                before += 1
            elif isinstance(outcome, Skipped):
                failed.add([outcome])
                in_a_row += 1
                if in_a_row >= MAX_FAILURES:
                    raise DatasetError(f"{in_a_row} pairs in a row failed, the last: {outcome.name}: {outcome.reason}")
            else:
                entry = {"name": key, "description": outcome.description, "entities": outcome.entities}
                lines.write(json.dumps(entry) + "\n")
                lines.flush()
                new, in_a_row = new + 1, 0
            on_pair()
    return EntityCounts(new, before, len(failed))
