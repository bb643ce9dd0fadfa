"""Words of other languages read as English, with dictionaries of a few words and an encoder of letters."""

import struct
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from lexiseg_model.errors import FieldError
from lexiseg_model.types import ClassEntry, Vocabulary
from lexiseg_model.vocabulary import languages
from lexiseg_model.vocabulary.dictionaries import ChineseDictionary, Dictionary, russian_words
from lexiseg_model.vocabulary.languages import Languages, load_languages

CHUNK = 64  # bytes
GERMAN = {
    "Hund": 'Hund /h/ <masc, n, sg>\n [zool.] dog <n>Dg, tyke <n> [Br.]\n     "bunter Hund" - colourful character\n',
    "Katze": "Katze /k/\n1. cat <n>\n see: {Katzen}, {Kater}\n",
    "Boot": "Boot /b/\n [naut.] boat <n>\n         Note: small vessel\n",
    "Rock": "Rock /r/\nskirt, rock\n",
    "Rat": "Rat /r/\nadvice\n",
    "Brief": "Brief /b/\nletter\n",
    "Auto": "Auto /a/\ncar\n",
    "Tür": "Tür /t/\ndoor\n",
}
FRENCH = {
    "chien": "chien /s/\ndog\n",
    "robe": "robe /r/\na dress; robe\n",
    "chaise": "chaise\nchair\n",
    "cheval": "cheval\nhorse\n",
    "œuf": "œuf\negg\n",
    "ĳsbeer": "ĳsbeer\nbear\n",
}
NAMES = ["table", "chair", "Стулы", "dog", "cat", "boot", "boat", "dress", "skirt", "rock", "cow", "door", "horse"]
CHINESE = """# CC-CEDICT
馬 马 [Ma3] /surname Ma/
馬 马 [ma3] /horse/CL:匹[pi3]/horse or cavalry piece in Chinese chess/
傘 伞 [san3] /umbrella; parasol (for the sun)/
繖 伞 [san3] /variant of 傘|伞[san3]/damask silk/
"""
MUELLER = {
    "dog": "dog\n   [d] 1. _n.\n      1) собака, пёс; gay dog весельчак\n      2) _разг. парень\n",
    "dog-wolf": "dog-wolf\n   [d] _n. волк\n",
    "wolf": "wolf\n   [w] 1. _n. волк\n",
    "hound": "hound\n   [h] 1. _n. гончая 2. _v. травить 3) собака\n",
}
JAPANESE = {"犬": "犬 kana alone\ndog\n", "牛": "牛 kana alone\ncow\n"}


def write_dictionary(folder: Path, code: str, entries: dict[str, str]) -> Path:
    """A pair of files as dictfmt and dictzip write them."""
    text, lines = b"", ["00databaseshort\tA\tA"]
    for headword in sorted(entries, key=str.lower):
        entry = entries[headword].encode()
        lines.append(f"{headword}\t{digits(len(text))}\t{digits(len(entry))}")
        text += entry
    index = folder / f"freedict-{code}-eng.index"
    index.write_text("\n".join(lines) + "\n", encoding="utf-8")
    index.with_suffix(".dict.dz").write_bytes(dictzip(text))
    return index


def digits(number: int) -> str:
    high, low = divmod(number, 64)
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    return (digits(high) if high else "") + alphabet[low]


def dictzip(text: bytes) -> bytes:
    compressor = zlib.compressobj(9, zlib.DEFLATED, -15)
    parts = [text[start : start + CHUNK] for start in range(0, len(text), CHUNK)]
    chunks = [compressor.compress(part) + compressor.flush(zlib.Z_FULL_FLUSH) for part in parts]
    field = struct.pack(f"<3H{len(chunks)}H", 1, CHUNK, len(chunks), *map(len, chunks))
    extra = b"RA" + struct.pack("<H", len(field)) + field
    header = b"\x1f\x8b\x08\x0c" + bytes(6) + struct.pack("<H", len(extra)) + extra + b"name.dict\0"
    return header + b"".join(chunks) + compressor.flush() + struct.pack("<II", zlib.crc32(text), len(text))


def letters(texts: Sequence[str]) -> NDArray[np.float32]:
    """Rows [N, 128] of how often each letter is in a text: words of similar letters are near."""
    rows = np.zeros((len(texts), 128), np.float32)
    for row, text in zip(rows, texts, strict=True):
        np.add.at(row, [ord(letter) % 128 for letter in text.lower()], 1)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return rows


@pytest.fixture(scope="module")
def entries(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., tuple[ClassEntry, ...]]:
    """The classes of a list as they are read, in a language if it is named."""
    folder = tmp_path_factory.mktemp("dictionaries")
    words = {"deu": GERMAN, "fra": FRENCH, "jpn": JAPANESE}
    dictionaries = {
        code: Dictionary(write_dictionary(folder, name, words[name]))
        for code, name in (("de", "deu"), ("fr", "fra"), ("ja", "jpn"))
    }
    english = frozenset({"auto", "boot", "brief", "car", "carburetor", "chaise", "rat", "robe", "rock", "tree"})
    known = Languages(dictionaries, english, NAMES, letters)

    def read_entries(*names: str, language: str | None = None) -> tuple[ClassEntry, ...]:
        return known.read(Vocabulary(tuple(map(ClassEntry, names))), language).classes

    return read_entries


@pytest.fixture(scope="module")
def read(entries: Callable[..., tuple[ClassEntry, ...]]) -> Callable[..., list[tuple[str, ...]]]:
    """The texts that the classes of a list are read as."""
    return lambda *names, language=None: [entry.texts for entry in entries(*names, language=language)]


READINGS = {
    "the translation that models know": ("Hund hund chien", None, "dog dog dog"),
    "an English word": ("Boot", None, "Boot"),
    "an English word in an English list": ("dog robe", None, "dog robe"),
    "English that no list of words has": ("carburetor", None, "carburetor"),
    "a list that is not of another language": ("Hund boot car", None, "dog boot car"),
    "a list of another language": ("Hund Katze Boot", None, "dog cat boat"),
    "a noun that photographs can show": ("bota tabo", None, "bota boat"),
    "no English, without a very near name": ("stale", None, "stale"),
    "no English, with a very near name": ("tabel", None, "table"),
    "a named language": ("Boot", "de", "boat"),
    "named English": ("Boot", "en", "Boot"),
    "another named language": ("robe", "fr", "dress"),
    "a named language without the word": ("robe", "de", "robe"),
    "another script": ("стул", None, "Стулы"),
    "Japanese": ("犬 牛", None, "dog cow"),
    "Chinese is not Japanese": ("马 牛", None, "马 牛"),
    "no translation": ("Hund Zwölfkampf", None, "dog Zwölfkampf"),
    "a near name in a list of another language": ("Hund Katze Tafel", None, "dog cat table"),
    "no near name there": ("Hund Katze Xylo", None, "dog cat Xylo"),
    "capitals, plurals, no accents": (
        "HUND Hunde Tuer TUR chevaux oeuf ijsbeer",
        None,
        "dog dog door door horse egg bear",
    ),
}


@pytest.mark.parametrize(("words", "language", "texts"), READINGS.values(), ids=READINGS)
def test_a_word_is_read_by_its_list(
    read: Callable[..., list[tuple[str, ...]]], words: str, language: str | None, texts: str
) -> None:
    assert read(*words.split(), language=language) == [(text,) for text in texts.split()]


@pytest.mark.parametrize(
    ("word", "text"), [("red car", "red car"), ("der Hund", "dog"), ("die Türen", "door"), ("les chiens", "dog")]
)
def test_an_article_is_no_matter(read: Callable[..., list[tuple[str, ...]]], word: str, text: str) -> None:
    assert read(word) == [(text,)]


def test_grammar_examples_and_notes_of_an_entry_are_no_translations(tmp_path: Path) -> None:
    dictionary = Dictionary(write_dictionary(tmp_path, "deu", GERMAN))

    assert [dictionary(word) for word in ("Hund", "Katze", "Boot")] == [["dog", "tyke"], ["cat"], ["boat"]]


def test_entries_beyond_the_first_chunk_of_a_dictionary_are_read(tmp_path: Path) -> None:
    entries = {f"w{number}": f"w{number}\nword {number}\n" for number in range(100)}

    dictionary = Dictionary(write_dictionary(tmp_path, "deu", entries))

    assert [dictionary(word) for word in entries] == [[f"word {number}"] for number in range(100)]


def test_an_english_word_that_is_rare_and_that_photographs_cannot_show_is_of_another_language(tmp_path: Path) -> None:
    words = {"Wald": "Wald\nforest\n", "Kind": "Kind\nchild\n", "Berg": "Berg\nmountain\n"}
    known = Languages(
        {"de": Dictionary(write_dictionary(tmp_path, "deu", words))},
        frozenset({"wald", "kind", "berg"}),
        ["forest", "child", "mountain"],
        letters,
        common=frozenset({"kind"}),
    )

    read = [known.read(Vocabulary((ClassEntry(word),))).classes[0] for word in words]

    assert [(entry.texts, entry.also) for entry in read] == [
        (("forest",), ()),
        (("Kind",), (("de", "child"),)),
        (("Berg",), (("de", "mountain"),)),
    ]


def test_a_translation_is_the_name_that_lacks_its_hyphens(tmp_path: Path) -> None:
    dictionary = Dictionary(write_dictionary(tmp_path, "deu", {"Zahnbürste": "Zahnbürste\ntooth-brush\n"}))
    known = Languages({"de": dictionary}, frozenset(), ["toothbrush"], letters)

    assert known.reading(("Zahnbürste",)).english == {"Zahnbürste": "toothbrush"}


@pytest.mark.parametrize(
    ("names", "also"),
    [
        (["Boot"], (("de", "boat"),)),
        (["robe"], (("fr", "dress"),)),
        (["Brief"], (("de", "letter"),)),  # no class, but a thing
        (["Boot", "Hund", "tree"], (("de", "boat"),)),
    ],
)
def test_an_english_word_of_a_list_that_is_as_much_of_another_language_says_what_it_is_there(
    entries: Callable[..., tuple[ClassEntry, ...]], names: list[str], also: tuple[tuple[str, str], ...]
) -> None:
    first = entries(*names)[0]

    assert (first.texts, first.also) == ((names[0],), also)


@pytest.mark.parametrize("names", [["boot", "tree"], ["carburetor"], ["rat"], ["auto"]])
def test_a_word_that_is_english_in_its_list_or_no_other_thing_elsewhere_is_not_ambiguous(
    entries: Callable[..., tuple[ClassEntry, ...]], names: list[str]
) -> None:
    assert [entry.also for entry in entries(*names)] == [()] * len(names)


def test_a_language_that_cannot_be_read_is_refused_with_those_that_can(
    read: Callable[..., list[tuple[str, ...]]],
) -> None:
    with pytest.raises(FieldError, match="language: expected one of en, de, fr, ja, ru, zh, got pl"):
        read("pies", language="pl")


def test_without_dictionaries_only_english_is_read() -> None:
    vocabulary = Vocabulary((ClassEntry("Hund"),))

    assert Languages().read(vocabulary) is Languages().read(vocabulary, "en") is vocabulary
    with pytest.raises(FieldError, match="expected en: no dictionaries are installed, got de"):
        Languages().read(vocabulary, "de")


def test_chinese_words_of_both_scripts_have_the_meanings_of_their_entries_alone(tmp_path: Path) -> None:
    (tmp_path / "cedict.txt").write_text(CHINESE, encoding="utf-8")
    dictionary = ChineseDictionary(tmp_path / "cedict.txt")

    assert [dictionary(word) for word in ("马", "馬", "伞", "傘", "牛")] == [
        ["horse", "horse or cavalry piece in chinese chess"],
        ["horse", "horse or cavalry piece in chinese chess"],
        ["umbrella", "parasol", "damask silk"],
        ["umbrella", "parasol"],
        [],
    ]


def test_russian_words_have_the_english_of_their_senses_the_first_ones_first(tmp_path: Path) -> None:
    pairs = russian_words(write_dictionary(tmp_path, "rus", MUELLER))

    assert [english for word, english in pairs if word == "собака"] == ["dog", "hound"]
    assert {word for word, english in pairs if english == "dog"} == {"собака", "пёс"}


def test_a_word_that_cannot_be_read_says_which_languages_were_tried(
    entries: Callable[..., tuple[ClassEntry, ...]],
) -> None:
    (entry,) = entries("Ψ")

    assert entry.tried == ("Chinese", "French", "German", "Japanese", "Russian")


def test_labels_and_synonyms_stay_those_of_the_request(tmp_path: Path) -> None:
    known = Languages({"de": Dictionary(write_dictionary(tmp_path, "deu", GERMAN))}, frozenset(), ["dog"], letters)

    (entry,) = known.read(Vocabulary((ClassEntry("Hund", ("Köter",)),))).classes

    assert (entry.name, entry.synonyms, entry.texts) == ("Hund", ("Köter",), ("dog", "Köter"))


def test_an_english_vocabulary_is_not_copied(tmp_path: Path) -> None:
    known = Languages(
        {"de": Dictionary(write_dictionary(tmp_path, "deu", GERMAN))}, frozenset(), ["dog", "street lamp"], letters
    )
    vocabulary = Vocabulary((ClassEntry("dog"), ClassEntry("street lamp")))

    assert known.read(vocabulary) is vocabulary


def test_languages_are_off_where_a_part_is_not_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert load_languages(["dog"], tmp_path, tmp_path).codes == ()
    write_dictionary(tmp_path, "deu", GERMAN)
    assert load_languages(["dog"], tmp_path, tmp_path).codes == ()
    (tmp_path / "british-english").write_text("boot\n")
    monkeypatch.setattr(languages, "ENCODER", "no_such_encoder")
    assert load_languages(["dog"], tmp_path, tmp_path).codes == ()


def test_what_is_installed_reads_other_languages_and_leaves_the_words_of_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_dictionary(tmp_path, "deu", GERMAN | {"Hotdog": "Hotdog /h/\nhot dog bun\n"})
    (tmp_path / "american-english").write_text("boot\n")
    (tmp_path / "letters.py").write_text(
        "import numpy\nclass USE:\n    def __init__(self, threads):\n        pass\n"
        "    def encode(self, texts):\n        return numpy.ones((len(texts), 2))\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(languages, "ENCODER", "letters")
    (tmp_path / "characters" / "cedict").mkdir(parents=True)
    (tmp_path / "characters" / "__init__.py").touch()
    (tmp_path / "characters" / "cedict" / "words.txt").write_text(CHINESE, encoding="utf-8")
    monkeypatch.setattr(languages, "CHINESE", "characters")

    (tmp_path / "smileys.py").write_text(
        "LANGUAGES = ['en', 'de', 'ru']\nEMOJI_DATA = {'': {'en': ':hot_dog:', 'de': ':Würstchen:', 'status': 2}}\n"
        "class config:\n    load_language = print\n"
    )
    monkeypatch.setattr(languages, "EMOJI", "smileys")
    write_dictionary(tmp_path, "rus", MUELLER)
    for suffix in (".index", ".dict.dz"):
        (tmp_path / f"freedict-rus-eng{suffix}").rename(tmp_path / f"mueller7{suffix}")

    installed = load_languages(["hotdog", "sky"], tmp_path, tmp_path)

    assert installed.reading(("Hund", "hotdog", "Boot", "sky")).english == {"Hund": "dog"}
    assert installed.reading(("马",)).english == {"马": "horse"}
    assert installed.reading(("Würstchen",)).english == {"Würstchen": "hot dog"}
    assert installed.reading(("собака", "волк")).english == {"собака": "dog", "волк": "wolf"}
