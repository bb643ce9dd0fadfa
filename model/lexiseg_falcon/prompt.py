"""Phrases as tokens: the released prompt around each, and the rows in which tokens are cached."""

from __future__ import annotations

import hashlib

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer
from torch import Tensor

from lexiseg_falcon.settings import ControlTokens
from lexiseg_model.errors import FieldError

TEMPLATE = "Segment these expressions in the image:<|start_of_query|>{}<|REF_SEG|>"
MAX_TOKENS = 160  # of a phrase with its prompt
BYTE = 256  # a token is two numbers below it: rows are kept in half precision
SHOWN = 40  # characters of a phrase in a message


class Prompts:
    """Texts as rows [2 * MAX_TOKENS + 1]: the high and low bytes of each token, then the number of tokens."""

    width = 2 * MAX_TOKENS + 1

    def __init__(self, tokenizer: bytes, tokens: ControlTokens) -> None:
        self._tokenizer = Tokenizer.from_str(tokenizer.decode())
        self._bos = tokens.bos
        self._control = set(self._tokenizer.get_added_tokens_decoder())
        self._lead = len(self._ids("")) - 1  # tokens before the phrase; one is behind it
        self.digest = hashlib.sha256(b"falcon_perception" + tokenizer).hexdigest()[:16]

    def encode(self, texts: list[str]) -> NDArray[np.float32]:
        """Rows [S, width] of texts.

        Raises:
            FieldError: a text has control tokens of the model, or more tokens than a row holds.
        """
        rows = np.zeros((len(texts), self.width), np.float32)
        plain = self._controls(self._ids(""))
        for row, text in zip(rows, texts, strict=True):
            ids = self._ids(text)
            shown = text if len(text) <= SHOWN else f"{text[:SHOWN]}..."
            if self._controls(ids) != plain:
                raise FieldError("classes", shown, "plain words, without control tokens of Falcon Perception")
            if len(ids) > MAX_TOKENS:
                raise FieldError("classes", shown, f"at most {MAX_TOKENS} tokens with its prompt, not {len(ids)}")
            row[: 2 * len(ids) : 2], row[1 : 2 * len(ids) : 2] = np.divmod(ids, BYTE)
            row[-1] = len(ids)
        return rows

    def phrase(self, ids: Tensor) -> Tensor:
        """The tokens of the phrase alone, of those with its prompt."""
        return ids[self._lead : -1]

    def _ids(self, text: str) -> list[int]:
        """Tokens of the prompt of a text, behind the image: a token that begins texts is before it."""
        ids: list[int] = self._tokenizer.encode(TEMPLATE.format(text)).ids
        return ids[1:] if self._bos is not None and ids[:1] == [self._bos] else ids

    def _controls(self, ids: list[int]) -> list[int]:
        return [token for token in ids if token in self._control]


def tokens_of(row: Tensor) -> Tensor:
    """Token ids [S] int64 of a row [width]."""
    pairs = row[:-1].round().long().view(-1, 2)[: int(row[-1])]
    return pairs @ torch.tensor([BYTE, 1], device=row.device)
