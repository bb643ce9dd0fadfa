"""What captions taught, on pairs held out: how high each photograph ranks its own caption, and the reverse."""

from __future__ import annotations

from typing import NamedTuple

import cv2
import torch
import torch.nn.functional as F

from lexiseg_model.clip.images import normalise
from lexiseg_model.clip.text import tokenize
from lexiseg_model.data.pairs.source import PairSource, decode
from lexiseg_model.errors import SampleError
from lexiseg_model.methods.s_seg.network import SSegNetwork
from lexiseg_model.training.retrieval import places

BATCH = 50


class Retrieval(NamedTuple):
    """Of N pairs, means of both directions. By chance: `rank` 50, `at_10` 1,000 / N, `loss` at least 2 ln N."""

    rank: float  # where the own one stands, in percent of the list; the smaller the better
    at_10: float  # percent of those whose own one is among the first ten
    loss: float  # contrastive, over all N

    def __str__(self) -> str:
        return f"own one at {self.rank:.1f} % of the list, among the first ten {self.at_10:.1f} %, loss {self.loss:.3f}"


@torch.no_grad()
def retrieval(network: SSegNetwork, pairs: PairSource, side: int) -> Retrieval:
    """Ranks the first captions of all pairs that can be read, photographs squeezed into squares of `side` pixels."""
    was_training = network.training
    network.eval()
    device = next(network.parameters()).device
    photographs, captions = [], []
    for part, size in enumerate(pairs.sizes):
        for index in range(size):
            try:
                pair = pairs.read(part, index)
                photograph = cv2.resize(decode(pair), (side, side), interpolation=cv2.INTER_AREA)
            except SampleError:
                continue
            photographs.append(torch.from_numpy(photograph).permute(2, 0, 1))
            captions.append(pair.captions[0])
    images = [
        network.embed_images(network.last_masks(normalise(torch.stack(some).to(device), "imagenet")).queries[-1])
        for some in (photographs[at : at + BATCH] for at in range(0, len(photographs), BATCH))
    ]
    texts = [network.embed_texts(some) for some in tokenize(captions).to(device).split(BATCH)]  # type: ignore[no-untyped-call]
    cosines = torch.cat(images) @ torch.cat(texts).T
    scale = network.contrast.scale
    network.train(was_training)
    own = torch.arange(len(cosines), device=device)
    ranks = torch.cat([places(cosines), places(cosines.T)]).float()
    loss = F.cross_entropy(scale * cosines, own) + F.cross_entropy(scale * cosines.T, own)
    return Retrieval(
        100 * ranks.mean().item() / max(1, len(cosines) - 1), 100 * (ranks < 10).float().mean().item(), loss.item()
    )
