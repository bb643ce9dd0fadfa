"""Photographs described by a vision-language model behind an endpoint of OpenAI's protocol (vLLM, Ollama ...)."""

from __future__ import annotations

import base64
import json
import re
import urllib.error
import urllib.request
from dataclasses import dataclass
from typing import Any

from lexiseg_model.data.entities.table import SEPARATOR
from lexiseg_model.data.pairs.source import StoredPair
from lexiseg_model.errors import OptionError, SampleError

MEDIA = {b"\xff\xd8": "image/jpeg", b"\x89P": "image/png", b"RI": "image/webp", b"BM": "image/bmp"}
ASKED = (
    "Describe this photograph in one or two sentences that name everything that can be seen, with its colour, material "
    "or action. It was captioned: {captions}. Then list the entities that you named, each with its describing words "
    'and without its article, such as "plaid shirt". Answer with JSON alone: '
    '{{"description": "...", "entities": ["...", "..."]}}'
)


@dataclass(frozen=True)
class Described:
    """A photograph in words, and what of it can be pointed at."""

    description: str
    entities: tuple[str, ...]


@dataclass(frozen=True)
class Endpoint:
    """`url` up to and with `/v1`; `key` is sent as a bearer token where there is one."""

    url: str
    model: str
    key: str | None = None
    seconds: float = 120.0  # that an answer may take

    def __post_init__(self) -> None:
        if not self.url.startswith(("http://", "https://")):
            raise OptionError(f"endpoint {self.url!r}; expected http://HOST:PORT/v1 or https://...")

    def describe(self, pair: StoredPair) -> Described:
        """Asks once.

        Raises:
            SampleError: the endpoint refuses, is silent, or says something else than was asked for.
        """
        body = json.dumps(
            {"model": self.model, "temperature": 0, "messages": [{"role": "user", "content": _asked(pair)}]}
        )
        headers = {"content-type": "application/json"} | ({"authorization": f"Bearer {self.key}"} if self.key else {})
        request = urllib.request.Request(f"{self.url.rstrip('/')}/chat/completions", body.encode(), headers)
        try:
            with urllib.request.urlopen(request, timeout=self.seconds) as answer:
                said = json.load(answer)["choices"][0]["message"]["content"]
        except urllib.error.HTTPError as error:
            raise SampleError(
                pair.name, f"{self.url} answers {error.code}: {error.read(200).decode(errors='replace')}"
            ) from None
        except (OSError, ValueError, KeyError, IndexError, TypeError) as error:
            raise SampleError(pair.name, f"{self.url} gives no answer: {error!r}") from None
        return _read(pair.name, said)


def _asked(pair: StoredPair) -> list[dict[str, Any]]:
    media = MEDIA.get(pair.photograph[:2], "image/jpeg")
    picture = f"data:{media};base64,{base64.b64encode(pair.photograph).decode()}"
    captions = "; ".join(pair.captions) or "nothing"
    return [
        {"type": "text", "text": ASKED.format(captions=captions)},
        {"type": "image_url", "image_url": {"url": picture}},
    ]


def _read(name: str, said: object) -> Described:
    """JSON anywhere in what was said: models put fences or a sentence around it."""
    match = re.search(r"\{.*\}", str(said), re.DOTALL)
    try:
        entry: Any = json.loads(match[0]) if match else None
        entities = tuple(dict.fromkeys(_one_line(entity) for entity in entry["entities"]))
        return Described(_one_line(entry.get("description", "")), tuple(filter(None, entities)))
    except (ValueError, KeyError, TypeError, AttributeError):
        raise SampleError(name, f"expected JSON with entities, the model said {said!r:.120}") from None


def _one_line(text: object) -> str:
    if not isinstance(text, str):
        raise TypeError(f"{text!r} is no text")
    return " ".join(text.replace(SEPARATOR, " ").split())
