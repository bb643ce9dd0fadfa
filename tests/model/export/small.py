"""Segmenters whose image pass is a network of a test's own choice: they are written and run in a moment."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from lexiseg_model.export.exportable import Exportable
from lexiseg_model.export.manifest import Bucket
from lexiseg_model.features import TileFeatures
from tests.model.stand_in import ColourSegmenter

BUCKET: Bucket = (16, 24)


class SmallSegmenter(ColourSegmenter, Exportable):
    """Tiles through `network`; `own` counts those that no runner took."""

    def __init__(self, network: nn.Module, buckets: tuple[Bucket, ...], any_size: bool, digest: str = "small") -> None:
        super().__init__()
        self.network = network.eval()
        self.buckets = buckets
        self.any_size = any_size
        self.digest = digest
        self.own = 0

    def image_network(self) -> nn.Module:
        return self.network

    @torch.inference_mode()
    def encode_tiles(self, tiles: NDArray[np.uint8]) -> TileFeatures:
        done = None if self._runner is None else self._runner.encode(tiles)
        if done is not None:
            return done
        self.own += len(tiles)
        return tuple(self.network(torch.from_numpy(tiles)))


class Edges(nn.Module):
    """Two convolutions, tiles of any shape: [N, 3, s, t] -> [N, 4, s, t] and their mean [N, 4]."""

    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.layers = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 4, 1))

    def forward(self, tiles: Tensor) -> tuple[Tensor, Tensor]:
        maps = self.layers(tiles.float() / 255)
        return maps, maps.mean((2, 3))


def edges(digest: str = "small") -> SmallSegmenter:
    """A model of tiles of any shape."""
    return SmallSegmenter(Edges(), (BUCKET,), any_size=True, digest=digest)


def noise(count: int, bucket: Bucket, seed: int = 0) -> NDArray[np.uint8]:
    """Tiles [count, 3, *bucket]."""
    return np.random.default_rng(seed).integers(0, 256, (count, 3, *bucket), dtype=np.uint8)
