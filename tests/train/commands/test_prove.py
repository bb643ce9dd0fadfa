"""`lexiseg models prove`: what is refused, the bundled model, and a small TCL by a checkpoint in its authors' layout.

Weights of TCL are random. The truth is what the imported model answers by its interface, moved to the side: classes are
right in part.
"""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image

from lexiseg_model.catalogue import models as catalogue
from lexiseg_model.segmenter import words_of
from lexiseg_model.vocabulary.bank import KnownRows
from lexiseg_train.commands.prove.run import protocol_of
from lexiseg_train.data.benchmark import benchmark
from lexiseg_train.evaluation.benchmarks.run import protocol, questions
from tests.model.methods.tcl import test_checkpoint as tcl
from tests.pictures import photograph
from tests.service.commands.command_line import CommandLine
from tests.train.commands.voc import write_photographs
from tests.train.data import trees

SIDE = 448  # pixels: the protocol does not resize it, or else by half-pixel centres as torch does


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_photographs(tmp_path / "data", {"chelsea": 8})


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


def test_a_figure_is_measured_as_its_authors_did() -> None:
    cards = {name: catalogue.find(name, None).card for name in ("tcl", "unpair-seg", "s-seg", "dense-clip")}

    assert {name: protocol_of(card, "voc20") for name, card in cards.items()} == {
        "tcl": "tcl", "unpair-seg": "unpair-seg", "s-seg": "s-seg", "dense-clip": "naclip",
    }  # fmt: skip


@torch.no_grad()
def labels_by(folder: Path, rgb: NDArray[np.uint8]) -> NDArray[np.int64]:
    """What an imported model says of its classes, refined by PAMR; a pixel is of the best."""
    rule = protocol("tcl").rule("voc20")
    model = catalogue.load_folder(folder, "cpu", card=rule.applied_to(catalogue.read_card(folder)))
    entries, owner = questions(benchmark("voc20"), rule)
    words = words_of(model)
    bank = words.text_bank(entries, KnownRows(model)(words.texts(entries)))
    scores = model.refined_scores(model.encode(rgb), bank)
    assert scores is not None
    labels: NDArray[np.int64] = owner[F.interpolate(scores[None], rgb.shape[:2], mode="bilinear")[0].argmax(0).numpy()]
    return labels


@pytest.mark.slow
def test_the_figure_is_that_of_the_models_own_answers(lexiseg: CommandLine, tmp_path: Path) -> None:
    from sklearn.metrics import jaccard_score  # here, because every process of the tests would wait for its import

    files = tmp_path / "files"
    files.mkdir()
    tcl.saved(files, "clip.pt")
    options = ("--checkpoint", files / "tcl.pth", "--clip", files / "clip.pt", "--architecture", tcl.MINI)
    assert lexiseg("models", "import", "--method", "tcl", *options, "--models-dir", files, "again").status == 0
    rgb = np.array(photograph("astronaut").resize((SIDE, SIDE)), np.uint8)
    answers = labels_by(files / "again", rgb)
    truth = np.roll(answers, SIDE // 3, 1)
    trees.write_voc(tmp_path / "data", {"one": truth + 1})  # classes are counted from 1 in its files
    stored = tmp_path / "data/VOCdevkit/VOC2012/JPEGImages/one.jpg"
    Image.fromarray(rgb).save(stored, format="PNG")  # without loss

    outcome = lexiseg(
        *("models", "prove", "tcl", "--dataset", "voc20", "--root", tmp_path / "data"),
        *("--out", tmp_path / "proofs.jsonl", "--progress", tmp_path / "progress"),
        *("--models-dir", tmp_path / "models", *options),
    )

    assert outcome.status == 0, outcome.err
    proofs = (tmp_path / "proofs.jsonl").read_text()
    line = json.loads(proofs)
    expected = 100 * jaccard_score(truth.ravel(), answers.ravel(), average="macro")
    assert (line["model"], line["dataset"], line["images"], line["of"]) == ("tcl", "voc20", 1, 1449)
    assert (line["architecture"], len(line["weights_sha256"]), line["published"]) == (tcl.MINI, 64, None)
    assert "published: no published figure for this combination; nearest: " in outcome.out
    assert str(tmp_path) not in proofs
    assert 0 < expected < 100
    assert line["miou"] == pytest.approx(expected, abs=0.05)
    assert "tcl on voc20, protocol tcl: mIoU" in outcome.out
    assert f": mIoU {line['miou']:.2f} on 1 pictures; " in outcome.out
