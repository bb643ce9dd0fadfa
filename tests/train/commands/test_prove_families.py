"""`lexiseg models prove` on small checkpoints in the authors' layouts; forward passes are compared elsewhere.

Weights are random. The truth is what the imported model answers by its interface, moved to the side: classes are right
in part.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import open_clip
import pytest
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor

from lexiseg_model.catalogue import models as catalogue
from lexiseg_model.catalogue.available import available
from lexiseg_model.catalogue.method import methods
from lexiseg_model.clip.towers import configuration
from lexiseg_model.segmenter import words_of
from lexiseg_model.vocabulary.bank import KnownRows
from lexiseg_train.commands.prove.run import protocol_of
from lexiseg_train.data.benchmark import benchmark
from lexiseg_train.evaluation.benchmarks.run import protocol, questions
from tests.model.methods.tcl import test_checkpoint as tcl
from tests.pictures import photograph
from tests.service.commands.command_line import CommandLine
from tests.train.data import trees

Labels = NDArray[np.int64]
Rgb = NDArray[np.uint8]
NAMES = benchmark("voc20").classes
MINI = tcl.MINI
OFFERED = 448  # pixels: no protocol here resizes it, or else by half-pixel centres as torch does


def picture(side: int) -> Rgb:
    return np.array(photograph("astronaut").resize((side, side)), np.uint8)


def enlarged(maps: Tensor, side: int) -> Tensor:
    """[C, h, w] -> [C, side, side]."""
    return F.interpolate(maps[None], (side, side), mode="bilinear")[0]


def save_clip(folder: Path) -> None:
    torch.manual_seed(0)
    model = open_clip.CLIP(**configuration(MINI) | {"quick_gelu": True})
    state = {name: value + 0.05 * torch.randn_like(value) for name, value in model.state_dict().items()}
    save_file(state, folder / "clip.safetensors")


@dataclass(frozen=True)
class Family:
    """A model of the list, and the files of a small one."""

    name: str
    save: Callable[[Path], object]
    options: tuple[str, ...]  # of `models import`; {} is the folder
    side: int = OFFERED
    protocol: str = "tcl"
    refine: str = "none"

    def labels(self, folder: Path, rgb: Rgb) -> Labels:
        """What the imported model says of its classes; a pixel is of the best."""
        rule = protocol(self.protocol).rule("voc20")
        (place,) = (folder / "second").iterdir()
        model = catalogue.load_folder(place, "cpu", card=rule.applied_to(catalogue.read_card(place)))
        entries, owner = questions(benchmark("voc20"), rule)
        words = words_of(model)
        bank = words.text_bank(entries, KnownRows(model)(words.texts(entries)))
        features = model.encode(rgb)
        refined = model.refined_scores(features, bank) if self.refine == "pamr" else None
        scores = enlarged(words.class_scores(features, bank) if refined is None else refined, len(rgb))
        labels: Labels = owner[scores.argmax(0).numpy()]
        return labels


def save_tcl(folder: Path) -> None:
    tcl.saved(folder, "clip.pt")


FAMILIES = [
    Family(
        "dense-clip",
        save_clip,
        ("--policy", "sclip", "--clip", "{}/clip.safetensors", "--architecture", MINI, "--activation", "quickgelu"),
        336,
        "sclip",
    ),
    Family(
        "tcl",
        save_tcl,
        ("--checkpoint", "{}/tcl.pth", "--clip", "{}/clip.pt", "--architecture", MINI),
        refine="pamr",
    ),
]


def test_a_figure_is_measured_as_its_authors_did() -> None:
    cards = {name: catalogue.find(name, None).card for name in ("tcl", "unpair-seg", "s-seg", "dense-clip")}

    assert {name: protocol_of(card, "voc20") for name, card in cards.items()} == {
        "tcl": "tcl", "unpair-seg": "unpair-seg", "s-seg": "s-seg", "dense-clip": "naclip",
    }  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_the_figure_is_that_of_the_models_own_answers(lexiseg: CommandLine, family: Family, tmp_path: Path) -> None:
    files = tmp_path / "files"
    files.mkdir()
    family.save(files)
    options = tuple(option.format(files) for option in family.options)
    method = methods()[available()[family.name].method].model_name
    into = ("--models-dir", files / "second", f"{family.name}-again")
    assert lexiseg("models", "import", "--method", method, *options, *into).status == 0
    rgb = picture(family.side)
    with torch.no_grad():
        answers = family.labels(files, rgb)
    truth = np.roll(answers, family.side // 3, 1)
    root = write_voc(tmp_path / "data", rgb, truth)

    outcome = lexiseg(
        *("models", "prove", family.name, "--dataset", "voc20", "--root", root, "--out", tmp_path / "proofs.jsonl"),
        *("--progress", tmp_path / "progress", "--models-dir", tmp_path / "models", *options),
    )

    assert outcome.status == 0, outcome.err
    proofs = (tmp_path / "proofs.jsonl").read_text()
    line = json.loads(proofs)
    expected = mean_iou(answers, truth)
    assert (line["model"], line["dataset"], line["images"], line["of"]) == (family.name, "voc20", 1, 1449)
    assert (line["architecture"] in options, len(line["weights_sha256"]), line["published"]) == (True, 64, None)
    assert "published: no published figure for this combination; nearest: " in outcome.out
    assert str(tmp_path) not in proofs
    assert len(np.unique(answers)) >= 2
    assert 0 < expected < 100
    assert line["miou"] == pytest.approx(expected, abs=0.05)
    assert f"{family.name} on voc20, protocol {family.protocol}" in outcome.out
    assert f": mIoU {line['miou']:.2f} on 1 pictures; " in outcome.out


def write_voc(folder: Path, rgb: Rgb, labels: Labels) -> Path:
    """VOCdevkit/VOC2012 with one picture; classes are counted from 1 in its files."""
    trees.write_voc(folder, {"one": labels + 1})
    photographs = folder / "VOCdevkit" / "VOC2012" / "JPEGImages"
    Image.fromarray(rgb).save(photographs / "one.jpg", format="PNG")  # without loss: both programs read it
    return folder


def mean_iou(labels: Labels, truth: Labels) -> float:
    """Percent; mean over the classes that either has."""
    shares = [
        ((labels == name) & (truth == name)).sum() / ((labels == name) | (truth == name)).sum()
        for name in np.union1d(labels, truth)
    ]
    return 100 * float(np.mean(shares))
