"""A small Falcon Perception with random weights, in the layout of the hub."""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from tokenizers.processors import TemplateProcessing
from torch import Tensor

from lexiseg_falcon.network import Architecture, FalconNetwork
from lexiseg_falcon.segmenter import FalconSegmenter, load
from lexiseg_model.catalogue import models as catalogue
from lexiseg_model.catalogue.method import Method
from lexiseg_model.resources.device import Execution
from lexiseg_model.types import Precision
from tests.model.methods import pretrained

METHOD = Method("falcon_perception", "lexiseg_falcon")
BOS = "<|begin_of_text|>"
NAMES = {
    "image_token": "<|image|>", "image_cls_token": "<|image_cls|>", "end_of_image_token": "<|end_of_image|>",
    **{f"image_reg_{number}_token": f"<|image_reg_{number}|>" for number in (1, 2, 3, 4)},
    "coord_token": "<|coord|>", "size_token": "<|size|>", "seg_token": "<|seg|>",
    "start_of_query_token": "<|start_of_query|>", "end_of_query_token": "<|end_of_query|>",
    "ref_seg_token": "<|REF_SEG|>",
}  # fmt: skip
CONFIG: dict[str, Any] = {
    "architectures": ["FalconPerceptionForSegmentation"], "model_type": "falcon_perception", "do_segmentation": True,
    "dim": 64, "n_layers": 2, "n_heads": 4, "n_kv_heads": 2, "head_dim": 16, "vocab_size": 280, "ffn_dim": 96,
    "norm_eps": 1e-5, "rope_theta": 10000, "max_seq_len": 1024, "channel_size": 3, "spatial_patch_size": 16,
    "temporal_patch_size": 1, "segm_out_dim": 32, "num_segm_layers": 3, "coord_enc_dim": 32, "coord_dec_dim": 48,
    "coord_out_dim": 64, "size_enc_dim": 32, "size_dec_dim": 48, "size_out_dim": 64,
}  # fmt: skip


ARCHITECTURE = Architecture.model_validate({name: CONFIG[name] for name in Architecture.model_fields})


def has_bos(seed: int) -> bool:
    """Whether a token begins every text of the model of a seed: one of each three."""
    return seed % 3 == 2


def tokenizer(bos: bool = False) -> Tokenizer:
    """Bytes and the control tokens; with `bos`, one that begins every text."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    made = Tokenizer(models.BPE(vocab={letter: number for number, letter in enumerate(letters)}, merges=[]))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    special = [*NAMES.values(), "<|end_of_text|>", "<|pad|>", *([BOS] if bos else [])]
    made.add_special_tokens([AddedToken(each, special=True, normalized=False) for each in special])
    if bos:
        made.post_processor = TemplateProcessing(f"{BOS} $A", special_tokens=[(BOS, made.token_to_id(BOS))])
    return made


def drawn(seed: int) -> dict[str, Tensor]:
    """Weights large enough that every part shows; answers are mostly of objects."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        state = FalconNetwork(ARCHITECTURE).state_dict()
        for name, value in state.items():
            large = ("freqs", "sinks", "basis", "encoder.transform")
            value += torch.randn_like(value) * (1.0 if any(part in name for part in large) else 0.3)
    ids = {name: tokenizer().token_to_id(text) for name, text in NAMES.items()}
    for name, factor in (("coord_token", 6), ("size_token", 4), ("seg_token", 4), ("end_of_query_token", 2.5)):
        state["output.weight"][ids[name]] *= factor
    return state


def save(folder: Path, seed: int = 0) -> None:
    """config.json, model.safetensors and the tokenizer's files."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(CONFIG))
    save_file(drawn(seed), folder / "model.safetensors")
    tokenizer(has_bos(seed)).save(str(folder / "tokenizer.json"))
    special = {"eos_token": "<|end_of_text|>", "pad_token": "<|pad|>"} | ({"bos_token": BOS} if has_bos(seed) else {})
    (folder / "tokenizer_config.json").write_text(json.dumps({**special, "model_specific_special_tokens": NAMES}))
    (folder / "special_tokens_map.json").write_text(json.dumps(special))


def imported(seed: int = 0) -> Path:
    """A model directory with a small input, made once a process; the hub's folder lies beside it as `hub`."""
    folder = pretrained.imported(METHOD.name, save, seed)
    card = folder / "card.yaml"
    card.write_text(card.read_text().replace("long_side: 1024", "long_side: 256"))
    return folder


def segmenter(precision: Precision = "exact", seed: int = 0) -> FalconSegmenter:
    """The whole model behind the interface; its input is small and its answers are short."""
    folder = imported(seed)
    card = catalogue.read_card(folder)
    small = card.input.model_copy(update={"long_side": 128})
    card = card.model_copy(update={"input": small, "settings": {**card.settings, "max_tokens": 24}})
    return load(folder, card, Execution(torch.device("cpu"), precision))
