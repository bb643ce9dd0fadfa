"""Read the weights of tiny: one file with the image network and the prompt head."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils.fusion import fuse_conv_bn_weights
from torch.nn.utils.memory_format import convert_conv2d_weight_memory_format

from lexiseg_model.cards import ModelCard
from lexiseg_model.catalogue.weights import SkipInit, for_inference, naming_files, read_weights, under
from lexiseg_model.errors import WeightsError
from lexiseg_model.methods.tiny.network import TinyNetwork
from lexiseg_model.methods.tiny.prompt_head import PromptHead

FOLDER = Path(__file__).parent / "bundled"
FILE = "tiny.safetensors"
BUNDLED = FOLDER / FILE
TEMPLATE = "a photo of a {}."
PROMPTS = "prompts."  # name prefix of the prompt head's tensors

Module = TypeVar("Module", bound=nn.Module)


class TinyState(NamedTuple):
    """Tensors of the image network, and of the prompt head (empty: there is none)."""

    network: dict[str, Tensor]
    prompts: dict[str, Tensor]

    @classmethod
    def from_tensors(cls, tensors: dict[str, Tensor]) -> TinyState:
        """Split the tensors of one file."""
        network = {name: value for name, value in tensors.items() if not name.startswith(PROMPTS)}
        return cls(network, under(PROMPTS, tensors))

    def merged(self) -> dict[str, Tensor]:
        """The tensors of one file."""
        return self.network | {f"{PROMPTS}{name}": value for name, value in self.prompts.items()}


def load_tensors(module: Module, tensors: dict[str, Tensor], origin: Path) -> Module:
    """Load all tensors of a module for inference. Raises WeightsError, which names `origin`, if they do not fit."""
    with naming_files(origin):
        return for_inference(module, "tiny", tensors)


def read_networks(file: Path, card: ModelCard, sha256: str) -> tuple[TinyNetwork, PromptHead | None]:
    """Read the image network of a model directory, and its prompt head if it has one."""
    folder, state = file.parent, TinyState.from_tensors(read_weights(file, sha256))
    with SkipInit():
        network = TinyNetwork.for_weights(state.network)
        head = PromptHead.for_weights(state.prompts) if state.prompts else None
    network = load_tensors(network, state.network, folder)
    width = network.embedding
    if card.embedding != width:
        raise WeightsError(f"{folder}: the card says {card.embedding}-dimensional embeddings, its weights have {width}")
    if head is not None and head.embedding != width:
        raise WeightsError(f"{folder}: the prompt head reads {head.embedding}-dimensional embeddings, not {width}")
    if head is None and "prompt" in card.tasks:
        raise WeightsError(f"{folder}: the card names the task prompt, but the weights have no prompt head")
    return network, None if head is None else load_tensors(head, state.prompts, folder)


def fold_batch_norms(module: Module) -> Module:
    """Fold every batch norm into the convolution before it in a sequence; in place."""
    for part in module.modules():
        match part, [*part.children()]:
            case nn.Sequential(), [nn.Conv2d() as convolution, nn.BatchNorm2d() as norm, *_]:
                assert norm.running_mean is not None
                assert norm.running_var is not None
                measured = norm.running_mean, norm.running_var, norm.eps, norm.weight, norm.bias
                convolution.weight, convolution.bias = fuse_conv_bn_weights(
                    convolution.weight, convolution.bias, *measured
                )
                part[1] = nn.Identity()
    return convert_conv2d_weight_memory_format(module, torch.channels_last)


def cast_weights(module: Module, dtype: torch.dtype) -> Module:
    """Cast all weights to `dtype` except remaining batch norms, which would lose accuracy; in place."""
    for part in module.modules():
        if not isinstance(part, _BatchNorm):
            for parameter in part.parameters(recurse=False):
                parameter.data = parameter.data.to(dtype)
    return module
