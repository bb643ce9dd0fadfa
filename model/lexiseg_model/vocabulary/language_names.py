"""Codes and names of languages that can be read as English, and the scripts of words."""

from __future__ import annotations

import re
import unicodedata

ENGLISH = "en"
# FreeDict's dictionaries into English: ISO 639-3, as in their files' names -> ISO 639-1 and the English name.
LANGUAGES = {
    "afr": ("af", "Afrikaans"),
    "ara": ("ar", "Arabic"),
    "ces": ("cs", "Czech"),
    "cym": ("cy", "Welsh"),
    "dan": ("da", "Danish"),
    "deu": ("de", "German"),
    "ell": ("el", "Greek"),
    "epo": ("eo", "Esperanto"),
    "fin": ("fi", "Finnish"),
    "fra": ("fr", "French"),
    "gle": ("ga", "Irish"),
    "hrv": ("hr", "Croatian"),
    "hun": ("hu", "Hungarian"),
    "isl": ("is", "Icelandic"),
    "ita": ("it", "Italian"),
    "jpn": ("ja", "Japanese"),
    "kur": ("ku", "Kurdish"),
    "lat": ("la", "Latin"),
    "lit": ("lt", "Lithuanian"),
    "nld": ("nl", "Dutch"),
    "pol": ("pl", "Polish"),
    "por": ("pt", "Portuguese"),
    "slk": ("sk", "Slovak"),
    "slv": ("sl", "Slovenian"),
    "spa": ("es", "Spanish"),
    "srp": ("sr", "Serbian"),
    "swe": ("sv", "Swedish"),
    "swh": ("sw", "Swahili"),
    "tur": ("tr", "Turkish"),
}
DIGRAPH = re.compile("([aouAOU])[eE]")  # for an umlaut
ENCODED = {"ru": "Russian", "zh": "Chinese"}  # without a dictionary: words are read as the nearest names
# What may stand before a noun, and endings of plurals with the singular's.
ARTICLES = {
    "de": {"der", "die", "das", "ein", "eine"},
    "fr": {"le", "la", "les", "un", "une", "des"},
    "es": {"el", "la", "los", "las", "un", "una"},
    "it": {"il", "lo", "la", "i", "gli", "le", "un", "uno", "una"},
    "pt": {"o", "a", "os", "as", "um", "uma"},
    "nl": {"de", "het", "een"},
}
PLURALS = {
    "de": (("n", ""), ("en", ""), ("er", ""), ("e", ""), ("s", "")),
    "fr": (("s", ""), ("x", ""), ("aux", "al"), ("aux", "ail")),
    "es": (("s", ""), ("es", ""), ("ces", "z")),
    "it": (("i", "o"), ("i", "e"), ("e", "a"), ("i", "io"), ("he", "a"), ("hi", "o"), ("i", "a")),
    "pt": (("s", ""), ("es", ""), ("ões", "ão"), ("ães", "ão"), ("is", "l"), ("ns", "m")),
    "nl": (("en", ""), ("s", ""), ("'s", ""), ("n", "")),
}
NAMES = dict(LANGUAGES.values()) | ENCODED


def code_of(dictionary: str) -> str:
    """The code by which requests name the language of a dictionary: of ISO 639-1, or 639-3 if it is not listed."""
    return LANGUAGES.get(dictionary, (dictionary,))[0]


def name_of(code: str) -> str:
    """The English name of a language; its code if it is not listed."""
    return NAMES.get(code, code)


def forms_of(word: str, code: str) -> list[str]:
    """A word and what it may be a form of in a language: without its article, with umlauts, in the singular."""
    article, _, noun = word.lower().partition(" ")
    forms = [word, noun] if article in ARTICLES.get(code, ()) and noun else [word]
    if code == "de":
        forms += [DIGRAPH.sub(r"\1", form) for form in forms if DIGRAPH.search(form)]  # accents are no matter
    lower = [form.lower() for form in forms]
    return forms + [
        form.removesuffix(plural) + singular
        for form in lower
        for plural, singular in PLURALS.get(code, ())
        if form.endswith(plural)
    ]


def script_of(text: str) -> str:
    """What a text is written in, by its first letter that is not Latin, as "Cyrillic letters"; empty: only Latin."""
    names = [unicodedata.name(character, "") for character in text if character.isalpha()]
    script = next((name.split()[0] for name in names if not name.startswith("LATIN")), "")
    return "Chinese characters" if script == "CJK" else f"{script.capitalize()} letters" if script else ""


def is_chinese(text: str) -> bool:
    """Whether a text has a Chinese character that Japanese does not use: none of JIS X 0208."""
    ideographs = (each for each in text if unicodedata.name(each, "").startswith("CJK UNIFIED"))
    return any(not ideograph.encode("shift_jis", "ignore") for ideograph in ideographs)
