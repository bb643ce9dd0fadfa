"""Train CLIP-DINOiser's heads: predict DINO's patch correlations and objectness from CLIP's tokens."""

from __future__ import annotations

import math
from pathlib import Path
from typing import NamedTuple, cast

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from lexiseg_model.clip import vision
from lexiseg_model.clip.dino import DinoName, DinoTower, dino_from_file, dino_from_hub
from lexiseg_model.clip.images import normalise
from lexiseg_model.clip.towers import ClipTowers, from_files, from_hub
from lexiseg_model.data.pairs.source import Skipped, StoredPair, decode, first_readable
from lexiseg_model.errors import DatasetError, SampleError
from lexiseg_model.methods.dense_clip.dinoiser import DEPTH, DinoiserHeads
from lexiseg_model.methods.dense_clip.settings import published_policy
from lexiseg_model.methods.dense_clip.training.recipe import DinoiserRecipe
from lexiseg_model.methods.dense_clip.training.teacher import Taught, Teacher
from lexiseg_model.training.recipe import LocalPhase
from lexiseg_model.training.run import Run
from lexiseg_model.training.stream import Stream

SUFFIXES = {".jpg", ".jpeg", ".png", ".webp"}
HEADS = "heads.safetensors"
MIRRORED = 0.5  # share of crops


class CropBatch(NamedTuple):
    """`images` uint8 [B, 3, S, S], and the photographs that could not be read."""

    images: Tensor
    skipped: tuple[Skipped, ...]


class Crops(Stream[CropBatch]):
    """Square crops of photographs whose short side was brought to the crop's."""

    def __init__(self, paths: list[Path], size: int, batch: int, brightness: float, seed: int) -> None:
        self.paths, self.size, self.batch, self.brightness, self.seed = paths, size, batch, brightness, seed

    def make(self, number: int, random: np.random.Generator) -> CropBatch:
        crops: list[NDArray[np.uint8]] = []
        skipped: list[Skipped] = []
        for position in range(number * self.batch, (number + 1) * self.batch):
            image, broken = first_readable(self._at(position), len(self.paths), self._read, random)
            crops.append(self._crop(image, random))
            skipped += broken
        return CropBatch(torch.from_numpy(np.stack(crops)).permute(0, 3, 1, 2), tuple(skipped))

    def _at(self, position: int) -> int:
        """Index of a photograph: every one comes once before any a second time."""
        epoch, offset = divmod(position, len(self.paths))
        return int(np.random.default_rng([self.seed, epoch]).permutation(len(self.paths))[offset])

    def _read(self, index: int) -> NDArray[np.uint8]:
        path = self.paths[index]
        try:
            content = path.read_bytes()
        except OSError as error:
            raise SampleError(str(path), f"cannot be read: {error.strerror}") from None
        return decode(StoredPair(str(path), content, ()))

    def _crop(self, image: NDArray[np.uint8], random: np.random.Generator) -> NDArray[np.uint8]:
        height, width = image.shape[:2]
        scale = self.size / min(height, width)
        size = (max(self.size, round(width * scale)), max(self.size, round(height * scale)))
        sized = cv2.resize(image, size, interpolation=cv2.INTER_LINEAR)
        left, top = (int(random.integers(0, side - self.size + 1)) for side in size)
        crop = sized[top : top + self.size, left : left + self.size]
        crop = crop[:, ::-1] if random.random() < MIRRORED else crop
        gain = random.uniform(1 - self.brightness, 1 + self.brightness)
        recoloured: NDArray[np.uint8] = np.clip(np.rint(crop * gain), 0, 255).astype(np.uint8)
        return recoloured


class DinoiserTrainer(Run[DinoiserRecipe, DinoiserHeads, CropBatch]):
    """Trains the heads; CLIP and DINO stay as they are."""

    file = HEADS

    def __init__(self, recipe: DinoiserRecipe) -> None:
        """
        Raises:
            WeightsError: the weights of CLIP or of DINO cannot be had, or are of another tower.
            DatasetError: there are no photographs.
        """
        self.paths, self.held_out = photographs_of(recipe)
        towers = clip_of(recipe)
        visual = vision.require_plain_vit(towers.visual)
        torch.manual_seed(recipe.seed)
        super().__init__(recipe, DinoiserHeads(visual.transformer.width, recipe.least_correlation))
        self.visual = visual.to(self.device)
        teacher = Teacher(tower_of(recipe), recipe.least_correlation, recipe.background_likeness)
        self.teacher = teacher.to(self.device).eval()
        self.settings = published_policy("clip_dinoiser").settings

    def _batches(self, phase: LocalPhase) -> Crops:
        return Crops(self.paths, phase.crop, phase.batch, self.recipe.brightness, self.recipe.seed)

    def _loss(self, batch: CropBatch) -> Tensor:
        self.skips.add(batch.skipped)
        pixels = batch.images.to(self.device)
        with self.autocast():
            inner = self.inner(pixels)
            taught = self._taught(pixels, inner)
            if self.recipe.mismatched:
                taught = Taught(*(each.roll(1, 0) for each in taught))
            correlation, objects = heads_losses(self.network, inner, taught)
        self.note(correlation=correlation.item(), objects=objects.item())
        return correlation + objects

    def _taught(self, pixels: Tensor, inner: Tensor) -> Taught:
        taught: Taught = self.teacher(normalise(pixels, "imagenet"), (inner.shape[2], inner.shape[3]))
        return taught

    def _validate(self) -> dict[str, float]:
        """The losses on photographs that were kept apart, one crop of each, the same for every seed of a run."""
        if not self.held_out:
            return {}
        phase = self.recipe.phases[-1]
        crops = Crops(self.held_out, phase.crop, phase.global_batch, 0.0, 0)
        parts = []
        for number in range(math.ceil(len(self.held_out) / phase.global_batch)):
            batch = crops.numbered(number)
            self.skips.add(batch.skipped)
            pixels = batch.images.to(self.device)
            inner = self.inner(pixels)
            parts.append([loss.item() for loss in heads_losses(self.network, inner, self._taught(pixels, inner))])
        correlation, objects = np.mean(parts, axis=0).tolist()
        return {"held_out_loss": correlation + objects, "correlation_loss": correlation, "objects_loss": objects}

    @torch.no_grad()
    def inner(self, pixels: Tensor) -> Tensor:
        """What the heads read of CLIP: uint8 [N, 3, S, S] -> [N, width, h, w]."""
        images = normalise(pixels, self.settings.normalisation)
        _, inner, grid = vision.tokens_with_inner(self.visual, images, self.settings.positions, DEPTH)
        return vision.patch_map(inner[:, 1:], grid)

    def _weights(self) -> dict[str, Tensor]:
        return dict(self.average)


def heads_losses(heads: DinoiserHeads, inner: Tensor, taught: Taught) -> tuple[Tensor, Tensor]:
    """Binary cross-entropies of what belongs together and of what is an object (CLIP-DINOiser, section 3.3).

    Cosines are taken for logits, negative ones for 0, as in the released code.
    """
    cosines = heads.correlations(inner).float().relu()
    correlation = F.binary_cross_entropy_with_logits(cosines, taught.together.float())
    return correlation, F.binary_cross_entropy_with_logits(heads.object_logits(inner).float(), taught.objects.float())


def photographs_of(recipe: DinoiserRecipe) -> tuple[list[Path], list[Path]]:
    """The photographs that a recipe trains on, and those that it keeps apart.

    Raises:
        DatasetError: there are none, or none are left.
    """
    folder = recipe.data / recipe.photographs
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)
    if not paths:
        raise DatasetError(f"no photographs in {folder}; expected files that end in {', '.join(sorted(SUFFIXES))}")
    if len(paths) <= recipe.held_out:
        raise DatasetError(
            f"{len(paths)} photographs in {folder}; expected more than the {recipe.held_out} of held_out"
        )
    drawn = [paths[index] for index in np.random.default_rng(recipe.seed).permutation(len(paths))]
    apart = recipe.held_out
    return drawn[apart : apart + recipe.most], drawn[:apart]


def clip_of(recipe: DinoiserRecipe) -> ClipTowers:
    """Both towers; errors as `from_files` and `from_hub`."""
    if recipe.clip is None:
        return from_hub(recipe.architecture, recipe.pretrained)
    return from_files(recipe.architecture, [recipe.clip], unmarked=True)


def tower_of(recipe: DinoiserRecipe) -> DinoTower:
    """The teacher; errors as `dino_from_file` and `dino_from_hub`."""
    name = cast(DinoName, recipe.teacher)
    return dino_from_hub(name) if recipe.tower is None else dino_from_file(name, recipe.tower)
