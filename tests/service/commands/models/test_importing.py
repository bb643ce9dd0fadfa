"""`lexiseg models import`, `push` and `pull`: what they refuse, and what they write."""

import json
import shutil
import warnings
from pathlib import Path

import torch

from lexiseg_model.catalogue import models as catalogue
from lexiseg_model.masks.encodings import to_png
from lexiseg_model.methods.dense_clip.segmenter import DenseClipSegmenter
from lexiseg_model.types import ClassEntry
from tests.model.acme import installed
from tests.model.clip import small
from tests.model.stand_in import picture
from tests.service.commands.command_line import CommandLine


def test_an_imported_model_is_listed_and_its_serving_explained(lexiseg: CommandLine, tmp_path: Path) -> None:
    torch.save(small.state(), tmp_path / "clip.pt")

    outcome = lexiseg(
        *("models", "import", "--method", "dense-clip", "--policy", "sclip", "--architecture", small.ARCHITECTURE),
        *("--clip", tmp_path / "clip.pt", "--models-dir", tmp_path / "models", "mine"),
    )

    assert outcome.status == 0
    assert "lexiseg serve --model mine" in outcome.out
    segmenter = catalogue.load("mine", models_dir=tmp_path / "models", device="cpu")
    assert isinstance(segmenter, DenseClipSegmenter)
    assert (segmenter.settings.policy, segmenter.settings.quick_gelu, segmenter.card.refine) == ("sclip", True, "none")
    assert segmenter.card.commercial_use == "ask"  # weights of anybody may lie in the file
    assert len(segmenter.texts((ClassEntry("cat"),))) == 80
    assert "mine@1" in lexiseg("models", "list", "--models-dir", tmp_path / "models").out


def test_a_method_of_another_distribution_is_imported_and_segments(lexiseg: CommandLine, tmp_path: Path) -> None:
    (tmp_path / "palette.txt").write_text("1 0 0")
    (tmp_path / "picture.png").write_bytes(to_png(picture(["r" * 16 + "g" * 16] * 32)))
    here = ("--models-dir", tmp_path / "models")

    with installed(tmp_path / "site"):
        shown = lexiseg("models", "import", "--help")
        outcome = lexiseg("models", "import", "--method", "acme", "--palette", tmp_path / "palette.txt", *here, "mine")
        segmented = lexiseg(
            "segment", tmp_path / "picture.png", "-c", "red", "--model", "mine", *here, "--out", tmp_path
        )

    assert "acme: a file of colours" in shown.out
    assert outcome.status == 0, outcome.err
    assert segmented.status == 0, segmented.err
    (found,) = json.loads((tmp_path / "annotations/instances_default.json").read_text())["annotations"]
    assert found["area"] == 16 * 32


def test_a_torchscript_archive_is_read_and_that_is_said(lexiseg: CommandLine, tmp_path: Path) -> None:
    class Empty(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x

    with warnings.catch_warnings():  # torch advises against the format; it is what OpenAI published in
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.jit.save(torch.jit.script(Empty()), tmp_path / "clip.pt")

    outcome = lexiseg(
        *("models", "import", "--method", "dense-clip", "--clip", tmp_path / "clip.pt"),
        *("--models-dir", tmp_path / "models", "mine"),
    )

    assert outcome.status == 1
    assert "TorchScript archive: running its code" in outcome.err
    assert "no CLIP weights" in outcome.err


def test_a_model_goes_there_and_back(lexiseg: CommandLine, tmp_path: Path) -> None:
    pushed = lexiseg("models", "push", f"tiny@{catalogue.find('tiny').card.version}", tmp_path / "store")
    pulled = lexiseg("models", "pull", f"{tmp_path}/store/tiny", "--models-dir", tmp_path / "models")

    assert (pushed.status, pulled.status) == (0, 0), pushed.err + pulled.err
    files = sum(path.is_file() for path in (tmp_path / "models/tiny").rglob("*"))
    assert pushed.out == f"{tmp_path}/store/tiny: {files} files, {files} of them sent now\n"
    assert "card.yaml ...\n" in pushed.err
    assert f"serve it with: LEXISEG_MODELS_DIR={tmp_path}/models lexiseg serve --model tiny" in pulled.out
    assert (tmp_path / "models/tiny/card.yaml").exists()


class Configuration:
    """Stands for a class of the authors' code, such as OmegaConf's."""

    def __init__(self) -> None:
        self.steps = 50_000


class Runs:
    """Unpickling it would write a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return shutil.copyfile, (__file__, str(self.path))


def test_a_training_checkpoint_with_foreign_objects_is_read_with_trust_alone(
    lexiseg: CommandLine, tmp_path: Path
) -> None:
    content = {"model": small.state(), "config": Configuration(), "hook": Runs(tmp_path / "ran")}
    torch.save(content, tmp_path / "ckpt.pth")
    small_clip = ("--clip", tmp_path / "ckpt.pth", "--architecture", small.ARCHITECTURE)
    command = ("models", "import", "--method", "dense-clip", *small_clip)
    here = ("--models-dir", tmp_path / "models")

    refused, read = lexiseg(*command, *here, "mine"), lexiseg(*command, *here, "--trust", "mine")

    assert refused.status == 1
    assert "or read it once with `lexiseg models import --trust`" in refused.err
    assert read.status == 0, read.err
    assert "ckpt.pth names " in read.err
    assert f"{Configuration.__module__}.Configuration" in read.err
    assert read.err.rstrip().endswith("read as stand-ins, none of this code runs")
    assert not (tmp_path / "ran").exists()
    assert lexiseg("models", "list", *here).out.count("mine@1") >= 1
