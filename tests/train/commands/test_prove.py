"""`lexiseg models prove`: authors' weights from files, pictures of a benchmark, and the line that is left."""

import json
from pathlib import Path

import numpy as np
import open_clip
import pytest
import torch
from safetensors.torch import save_file

from lexiseg_model.clip.towers import configuration
from tests import pictures
from tests.service.commands.command_line import CommandLine
from tests.train.data.trees import write_map

MINI = "lexiseg-mini-16"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """VOCdevkit/VOC2012 with one photograph."""
    base = tmp_path / "data" / "VOCdevkit" / "VOC2012"
    (base / "JPEGImages").mkdir(parents=True)
    photograph = pictures.small("chelsea", 96)
    photograph.save(base / "JPEGImages" / "chelsea.jpg")
    stored = np.zeros((photograph.height, photograph.width), np.uint8)
    stored[20:70, 20:70] = 8
    write_map(base / "SegmentationClass" / "chelsea.png", stored, palette=True)
    listing = base / "ImageSets" / "Segmentation" / "val.txt"
    listing.parent.mkdir(parents=True)
    listing.write_text("chelsea\n")
    return tmp_path / "data"


def test_weights_from_files_are_imported_measured_and_noted(lexiseg: CommandLine, root: Path, tmp_path: Path) -> None:
    torch.manual_seed(0)
    save_file(open_clip.CLIP(**configuration(MINI) | {"quick_gelu": True}).state_dict(), tmp_path / "clip.safetensors")
    proofs = tmp_path / "proofs.jsonl"

    outcome = lexiseg(
        *("models", "prove", "dense-clip", "--dataset", "voc21", "--root", root, "--out", proofs),
        *("--progress", tmp_path / "progress", "--models-dir", tmp_path / "models"),
        *("--clip", tmp_path / "clip.safetensors", "--architecture", MINI, "--activation", "quickgelu"),
        *("--policy", "naclip"),
    )

    assert outcome.status == 0, outcome.err
    assert "dense-clip on voc21, protocol naclip: mIoU" in outcome.out
    assert "published: no published figure for this combination; nearest: " in outcome.out
    assert f"not {MINI}" in outcome.out
    (line,) = map(json.loads, proofs.read_text().splitlines())
    assert (line["model"], line["dataset"], line["images"], line["of"]) == ("dense-clip", "voc21", 1, 1449)
    assert (line["architecture"], line["rule"]["sight"]["short_side"], line["published"]) == (MINI, 336, None)
    assert 0 <= line["miou"] <= 100
    assert len(line["weights_sha256"]) == 64
    assert str(tmp_path) not in proofs.read_text()


@pytest.mark.parametrize(("dataset", "message"), [("voc21", "holds ImageSets"), ("nothing", "'nothing'")])
def test_nothing_is_imported_where_there_are_no_pictures(
    lexiseg: CommandLine, tmp_path: Path, dataset: str, message: str
) -> None:
    outcome = lexiseg(
        *("models", "prove", "dense-clip", "--dataset", dataset, "--root", tmp_path),
        *("--models-dir", tmp_path / "models", "--clip", tmp_path / "clip.pt"),
    )

    assert outcome.status == 1
    assert message in outcome.err


@pytest.mark.parametrize(
    ("name", "dataset", "message"),
    [
        ("nobody", "voc21", "no published model 'nobody'; known: tiny, "),
        ("dense-clip", "camvid", "the protocol tcl does not cover 'camvid'; it covers voc21, "),
        ("tiny", "pictures", "the protocol tcl does not cover 'pictures'; it covers voc21, "),
    ],
)
def test_what_no_protocol_covers_is_refused(
    lexiseg: CommandLine, root: Path, name: str, dataset: str, message: str
) -> None:
    outcome = lexiseg("models", "prove", name, "--dataset", dataset, "--root", root)

    assert outcome.status != 0
    assert message in outcome.err


def test_a_model_without_a_protocol_of_its_own_is_measured_by_tcls(
    lexiseg: CommandLine, root: Path, tmp_path: Path
) -> None:
    out = ("--out", tmp_path / "proofs.jsonl", "--progress", tmp_path / "progress")

    outcome = lexiseg("models", "prove", "tiny", "--dataset", "voc21", "--root", root, *out)

    assert outcome.status == 0, outcome.err
    assert "tiny on voc21, protocol tcl at the model's own size: mIoU" in outcome.out
    assert "published: no published figure for this combination" in outcome.out
    [line] = map(json.loads, (tmp_path / "proofs.jsonl").read_text().splitlines())
    assert line["rule"]["sight"] is None
