"""Drawn photographs with weak labels: boxes, captions, names."""

import json
from pathlib import Path

import numpy as np
from PIL import Image

SIZE = (48, 64)  # height, width


def save(path: Path, seed: int) -> None:
    """Noise in large cells, another for each seed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    cells = np.random.default_rng(seed).integers(0, 256, (6, 8, 3)).astype(np.uint8)
    Image.fromarray(cells).resize(SIZE[::-1], Image.Resampling.NEAREST).save(path, quality=95)


def write_boxes(root: Path, complete: bool = True) -> Path:
    """`root/boxed`: a cat in the middle of the first photograph, eight dogs on the second, nothing on the third."""
    entries = [
        ("000.jpg", [{"name": "cat", "xyxy": [10, 10, 40, 40]}]),
        ("001.jpg", [{"name": "dog", "xyxy": [6 * k, 0, 6 * k + 5, 20]} for k in range(8)]),
        ("002.jpg", []),
    ]
    images = []
    for seed, (file, boxes) in enumerate(entries):
        save(root / "boxed" / "images" / file, seed)
        images.append({"file": file, "width": SIZE[1], "height": SIZE[0], "boxes": boxes})
    listing = {"images": images, "complete": complete, "names": ["cat", "dog"]}
    (root / "boxed" / "boxes.json").write_text(json.dumps(listing))
    captions = {"000": {"captions": ["A cat in the meadow."]}, "001": {"captions": ["Dogs, many of them"]}}
    (root / "boxed" / "captions.json").write_text(json.dumps(captions))
    return root


def write_names(root: Path) -> Path:
    """`root/named`: a gramophone and a starfish."""
    for seed, file in enumerate(("g.jpg", "s.jpg"), 10):
        save(root / "named" / "train" / "images" / file, seed)
    (root / "named" / "labels.json").write_text(json.dumps({"g.jpg": ["gramophone"], "s.jpg": ["starfish"]}))
    return root
