"""The largest JSON bodies that `POST /segment` reads, each dear in another way: an attack of `loadtests.fairness`."""

from __future__ import annotations

import base64
import json

import numpy as np

from lexiseg_service.question.json_text import max_values
from lexiseg_service.settings import Limits
from loadtests.plain_client import posted_json

CLASSES = ["sky", "building", "tree"]
N_BYTES = 26_000_000  # of a body
SEED = 0


class LargeJson:
    """Bodies around one photograph, which is as long as a photograph may be: noise follows what is its file.

    Args:
        photograph: an encoded image.
    """

    def __init__(self, photograph: bytes) -> None:
        n_noise = N_BYTES * 3 // 4 - len(photograph)
        noise = np.random.default_rng(SEED).bytes(n_noise)
        self._limits = Limits()
        self._base64 = base64.b64encode(photograph + noise).decode()

    def request(self, kind: str, key: str) -> bytes:
        """One of `KINDS` as it goes over the wire."""
        return posted_json(self._body(kind), key)

    def _body(self, kind: str) -> bytes:
        short = self._base64[: N_BYTES * 7 // 8 // 4 * 4]
        match kind:
            case "base64":
                return self._about(self._base64)
            case "values":
                return self._about(short, prompts=[0] * (max_values(self._limits) - 100))
            case "long":  # as many in as few bytes: 400 of these fit where one of the others does
                return self._about("", prompts=[[0]] * ((max_values(self._limits) - 100) // 2))
            case "findings":
                return self._about(short, classes=[[] for _ in range((max_values(self._limits) - 100) // 2)])
            case "names":
                return self._about("", **{self._base64: 1})
            case "blanks":
                return b" " * N_BYTES
            case "digits":
                return b'{"a": ' + b"1" * N_BYTES + b"}"
            case _:
                return b'{"a": "' + rb"\ud83d\ude00" * (N_BYTES // 12) + b'"}'

    def _about(self, encoded: str, **question: object) -> bytes:
        # No blanks: what is no JSON costs least to refuse.
        question = {"classes": CLASSES, **question}
        text = json.dumps({"image": {"base64": encoded}, **question}, separators=(",", ":"))
        return text.encode()


KINDS = ("base64", "values", "long", "findings", "names", "blanks", "digits", "surrogates")
