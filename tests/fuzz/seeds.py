"""Where the search begins: small things that are right, one of each kind. Written by `python -m tests.fuzz.seeds`."""

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save

from lexiseg_client.stubs import segmentation_pb2 as pb
from lexiseg_model.catalogue import models as catalogue
from lexiseg_model.masks.rle import encode_mask
from lexiseg_model.pictures.colours import space_of_numbers
from tests.fuzz.data_sets import data_sets
from tests.fuzz.targets import CARD_ENDS
from tests.model.pictures.tiffs import packed, tiff, with_beneath

CORPUS = Path(__file__).with_name("corpus")
SIDE = 17


def images() -> Iterator[tuple[str, bytes]]:
    """Every type that is taken, in several modes, and one that is not."""
    pixels = np.random.default_rng(0).integers(0, 256, (SIDE, SIDE + 2, 3), np.uint8)
    picture = Image.fromarray(pixels)
    turned = Image.Exif()
    turned[0x0112] = 6
    for kind, mode in (
        ("JPEG", "RGB"), ("JPEG", "CMYK"), ("JPEG", "L"), ("PNG", "RGBA"), ("PNG", "P"), ("PNG", "1"), ("PNG", "I;16"),
        ("WEBP", "RGB"), ("BMP", "RGB"), ("TIFF", "RGB"), ("TIFF", "LAB"), ("GIF", "P"),
    ):  # fmt: skip
        converted = picture.convert("I").convert(mode) if mode == "I;16" else picture.convert(mode)
        buffer = io.BytesIO()
        converted.save(buffer, kind, **({"exif": turned} if kind in ("JPEG", "WEBP") else {}))
        yield f"{kind}-{mode.replace(';', '')}".lower(), buffer.getvalue()
    for kind in ("JPEG", "PNG", "WEBP", "AVIF"):
        buffer = io.BytesIO()
        picture.save(buffer, kind, icc_profile=space_of_numbers(12, 13).profile)
        yield f"{kind}-profile".lower(), buffer.getvalue()
    rgb: dict[str, Any] = {"photometric": "rgb"}
    yield "tiff-profile", tiff(pixels, iccprofile=space_of_numbers(9, 16).profile, **rgb)
    yield "tiff-beneath", with_beneath(pixels[::2, ::2], pixels[..., 0], kinds=(1, 0))
    yield "tiff-float", tiff((pixels / 255).astype(np.float32), compression="zlib", **rgb)
    yield "tiff-dim", tiff(pixels.astype(np.uint16), order=">", bigtiff=True, **rgb)
    yield "tiff-12-bits", packed(pixels[..., 0].astype(np.uint16) << 4, 12)
    yield "tiff-overview", tiff(pixels, pixels[::2, ::2], subfiles=(0, 1), tile=(16, 16), **rgb)


def runs() -> Iterator[tuple[str, bytes]]:
    """Masks of a few shapes."""
    chance = np.random.default_rng(1)
    for name, mask in {
        "noise": chance.random((9, 11)) < 0.5,
        "block": np.pad(np.ones((20, 20), bool), 8),
        "nothing": np.zeros((5, 4), bool),
        "everything": np.ones((64, 64), bool),
    }.items():
        height, width = mask.shape
        yield name, bytes([height - 1, width - 1]) + encode_mask(mask).counts.encode()


def messages() -> Iterator[tuple[str, bytes]]:
    """Requests that use every field."""
    classes = [pb.Class(name="sky"), pb.Class(name="sofa", synonyms=["couch"], threshold=0.3)]
    content = pb.Image(content=b"\xff\xd8")
    whole = pb.SegmentRequest(
        image=content,
        classes=classes,
        background=pb.Background(words=pb.Words(words=["wall", "floor"])),
        model="tiny@1",
        threshold=0.2,
        max_side=320,
        overlay=True,
        confidence=True,
        task=pb.TASK_PANOPTIC,
    )
    yield "classes", whole.SerializeToString()
    prompts = [pb.Prompt(points=[pb.Point(x=3, y=4)]), pb.Prompt(box=pb.Box(x0=1, y0=2, x1=30, y1=40))]
    yield "prompts", pb.SegmentRequest(image=content, prompts=prompts).SerializeToString()
    yield "by id", pb.SegmentRequest(image=pb.Image(id="ab" * 16), vocabulary="ade20k").SerializeToString()


def models() -> Iterator[tuple[str, bytes]]:
    """The bundled card with a few numbers for weights, and the shortest one."""
    weights = save({"a": torch.zeros(2, 3), "b.c": torch.ones(1, dtype=torch.float16)})
    card = (catalogue.bundled()["tiny"] / "card.yaml").read_bytes()
    yield "bundled", card + CARD_ENDS + weights
    yield "short", b"name: a\nmethod: tiny\n" + CARD_ENDS + weights[:40]


SEEDS = {"image": images, "rle": runs, "message": messages, "model": models, "data-set": data_sets}


def main() -> None:
    """Writes them into the corpus."""
    for target, seeds in SEEDS.items():
        (CORPUS / target).mkdir(parents=True, exist_ok=True)
        for name, content in seeds():
            (CORPUS / target / f"seed-{name.replace(' ', '-')}").write_bytes(content)


if __name__ == "__main__":
    main()
