"""Training of `tiny`'s prompt head: class-agnostic masks for points and boxes, over a network that stays as it is."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.utils.memory_format import convert_conv2d_weight_memory_format

from lexiseg_model.methods.tiny.network import MEAN, STD, TinyNetwork
from lexiseg_model.methods.tiny.prompt_head import PromptHead
from lexiseg_model.methods.tiny.prompt_maps import Prompts
from lexiseg_model.methods.tiny.segmenter import GUIDE_STRIDE
from lexiseg_model.methods.tiny.weights import BUNDLED, TinyState, filled
from lexiseg_model.training.prompt_draw import CELL_LABELS, Drawn, PromptCrops
from lexiseg_model.training.prompt_losses import prompt_losses
from lexiseg_model.training.prompt_objects import read_samples
from lexiseg_model.training.recipe import Phase, PromptsRecipe
from lexiseg_model.training.timed_run import TimedRun, channel
from lexiseg_model.weights import read_weights

Example = tuple[NDArray[np.uint8], Drawn]


class PromptTrainer(TimedRun[PromptsRecipe, PromptHead, Example]):
    """Trains the head alone: the weights that come out hold those of the network below, bit by bit."""

    def __init__(self, recipe: PromptsRecipe) -> None:
        torch.manual_seed(recipe.seed)
        super().__init__(recipe, PromptHead())
        self.sources = [(source, read_samples(recipe.data, name, source)) for name, source in recipe.sets.items()]
        path = BUNDLED if recipe.below == "bundled" else Path(recipe.below)
        self.below = TinyState.of(read_weights(path, None)).network
        network = filled(TinyNetwork(), self.below, path).to(self.device)
        self.features: TinyNetwork = convert_conv2d_weight_memory_format(network, torch.channels_last)
        self.overlaps: list[list[float]] = []

    def _examples(self, phase: Phase) -> PromptCrops:
        recipe = self.recipe
        return PromptCrops(self.sources, phase.crop, recipe.lone, recipe.sure, recipe.seed + self.step)

    def _loss(self, batch: list[Example]) -> Tensor:
        pixels, guide = self._kept([crop for crop, _ in batch])
        drawn = [drawn for _, drawn in batch]
        prompts = Prompts(*(self._stacked([d[index] for d in drawn]) for index in range(len(Prompts._fields))))
        targets = self._stacked([d.targets for d in drawn]) / CELL_LABELS
        valid = self._stacked([d.valid for d in drawn])
        n = self.recipe.lone
        lone = Prompts(
            prompts.points[:, :n, :1], prompts.signs[:, :n, :1], prompts.boxes[:, :n], prompts.has_box[:, :n]
        )
        sure = Prompts(*(part[:, n:] for part in prompts))
        with torch.autocast(self.device.type, torch.bfloat16):
            shared = self.network.maps(pixels, guide)
            of_lone, of_sure = self.network.lone(shared, lone), self.network.sure(shared, sure)
        lone_losses = prompt_losses(of_lone, targets[:, :n], valid)
        sure_losses = prompt_losses(of_sure, targets[:, n:], valid)
        self.overlaps.append([lone_losses.overlap.item(), sure_losses.overlap.item()])
        return lone_losses.total + sure_losses.total

    @torch.no_grad()
    def _kept(self, crops: list[NDArray[np.uint8]]) -> tuple[Tensor, Tensor]:
        """Embeddings and colours of crops, as they are kept of an image that is served."""
        pixels = torch.from_numpy(np.stack(crops)).to(self.device).permute(0, 3, 1, 2).float()
        mean, std = channel(MEAN, self.device), channel(STD, self.device)
        images = ((pixels - mean) / std).contiguous(memory_format=torch.channels_last)
        with torch.autocast(self.device.type, torch.bfloat16):
            embeddings = self.features(images).pixels
        return embeddings, (F.avg_pool2d(pixels, GUIDE_STRIDE).round() - mean) / std

    def _stacked(self, parts: list[NDArray[np.generic]]) -> Tensor:
        return torch.from_numpy(np.stack(parts)).to(self.device).float()

    def _told(self) -> dict[str, float]:
        lone, sure = np.mean(self.overlaps, axis=0).tolist()
        self.overlaps.clear()
        return {"point_iou": round(lone, 3), "box_iou": round(sure, 3)}

    def _weights(self) -> dict[str, Tensor]:
        return TinyState(self.below, self.average).together()
