"""Move a prompt head from the pixel embeddings it was trained on to those of another network, without training.

    python -m lexiseg_train.methods.tiny.realign DATA OLD.safetensors NEW.safetensors OUT.safetensors

The head reads embeddings in two ways: by their cosines with each other, which two networks that know the same things
share, and by linear layers. A least-squares map from the new embeddings to the old ones, fitted on cells of training
photographs, is multiplied into these layers.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import Tensor

from lexiseg_model.catalogue.weights import read_weights
from lexiseg_model.methods.tiny.network import EMBEDDING, TinyNetwork
from lexiseg_model.methods.tiny.prompt_head import MID, PromptHead
from lexiseg_model.methods.tiny.trunk import normalised
from lexiseg_model.methods.tiny.weights import TinyState, load_tensors
from lexiseg_train.data.indexed import evenly_spread, list_samples

PHOTOGRAPHS = {"voc": 150, "coco": 50, "street": 50, "fashion": 40, "camvid": 30, "regions": 50}
CELLS = 400  # of each photograph
SIZE = (320, 256)  # of the photographs, width and height
RIDGE = 0.1  # beside the squares of 148,000 unit vectors


def fit_map(new: Tensor, old: Tensor) -> Tensor:
    """The matrix [96, 96] by which embeddings [N, 96] of the new network come closest to those of the old one."""
    fitted: Tensor = torch.linalg.solve(new.mT @ new + RIDGE * torch.eye(new.shape[1]), new.mT @ old)
    return fitted


@torch.no_grad()
def realign(head: PromptHead, to_old: Tensor) -> PromptHead:
    """Make a head read new embeddings, `new @ to_old` being about the old ones; in place."""
    stem = head.shared.stem.get_parameter("0.weight")  # the embeddings are the first channels
    stem[:, :EMBEDDING] = torch.einsum("ji,oihw->ojhw", to_old, stem[:, :EMBEDDING])
    for output in (head.of_lone, head.of_sure):
        seen = output.seen.weight[:, MID : MID + EMBEDDING]
        seen.copy_(seen @ to_old.mT)
    return head


@torch.inference_mode()
def embeddings(network: TinyNetwork, photographs: Iterable[NDArray[np.uint8]], seed: int = 0) -> Tensor:
    """Embeddings [N, 96] of CELLS random cells of each photograph [H, W, 3]; the same cells for the same seed."""
    random, parts = np.random.default_rng(seed), []
    for rgb in photographs:
        resized = np.asarray(cv2.resize(rgb, SIZE, interpolation=cv2.INTER_AREA), np.uint8)
        tile = normalised(torch.from_numpy(resized).permute(2, 0, 1)[None])
        cells = network(tile).pixels[0].flatten(1).mT
        parts.append(cells[torch.from_numpy(random.choice(len(cells), CELLS, replace=False))])
    return torch.cat(parts)


def main(root: Path, files: Sequence[Path]) -> None:
    """Write the new network with the old file's head."""
    old_file, new_file, out = files
    old, new = (TinyState.of(read_weights(file, None)) for file in (old_file, new_file))
    head = load_tensors(PromptHead(), old.prompts, old_file).float()
    samples = [s for name, n in PHOTOGRAPHS.items() for s in evenly_spread(list_samples(root, name, "train"), n)]
    seen = [
        embeddings(load_tensors(TinyNetwork(), state.network, file).float(), (s.read_image() for s in samples))
        for state, file in ((new, new_file), (old, old_file))
    ]
    prompts = {name: value.half() for name, value in realign(head, fit_map(*seen)).state_dict().items()}
    save_file(TinyState(new.network, prompts).merged(), out)


if __name__ == "__main__":
    main(Path(sys.argv[1]), [Path(name) for name in sys.argv[2:]])
