import gc
import io
import os
import signal
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lexiseg_client import Segmentation
from lexiseg_model.types import ClassEntry
from lexiseg_service.commands.image_files import Source, sources_of
from lexiseg_service.commands.question import question_of
from lexiseg_service.commands.segment.run import INTERRUPTED_STATUS, Ask, Job, segment_remaining
from lexiseg_service.settings import Limits
from tests import pictures
from tests.command import ended
from tests.labels.formats import made
from tests.service.commands.command_line import CommandLine, written

# None in `sys.modules` refuses an import. torch is not among them: docs/quality.md.
OF_OTHER_MODELS = (
    "onnx",
    "open_clip",
    "scipy",
    "sympy",
    "timm",
    "torch._dynamo",
    "torch.onnx",
    "torchvision",
    "transformers",
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two photographs and a text."""
    (tmp_path / "china.jpg").write_bytes(pictures.encoded(pictures.small("china", 240), "JPEG"))
    (tmp_path / "flower.png").write_bytes(pictures.encoded(pictures.small("flower", 240)))
    (tmp_path / "notes.txt").write_text("not a picture")
    return tmp_path


@pytest.mark.parametrize("model", ["tiny", "tiny@none"], ids=["a run", "a start that fails"])
def test_garbage_is_collected_again_after(lexiseg: CommandLine, folder: Path, model: str) -> None:
    lexiseg("segment", folder / "china.jpg", "-c", "sky", "--out", folder / "o", "--model", model)

    assert gc.isenabled()


def test_an_answer_of_tiny_imports_nothing_that_only_other_models_need(folder: Path) -> None:
    questions = {"words": ("-c", "sky"), "click": ("--point", "40,40")}
    commands = [
        ["segment", str(folder / "china.jpg"), *question, "--out", str(folder / name), "-q"]
        for name, question in questions.items()
    ]
    program = (
        f"import sys; sys.modules.update(dict.fromkeys({OF_OTHER_MODELS})); from lexiseg_service.cli import app\n"
        f"for command in {commands}: app(command, standalone_mode=False)"
    )

    answer = ended([sys.executable, "-c", program])

    assert answer.returncode == 0, answer.stderr  # an import of one would fail
    for name in questions:
        assert written(folder / name)["annotations"]


def test_a_file_that_fails_is_named_and_the_others_go_on(lexiseg: CommandLine, folder: Path) -> None:
    outcome = lexiseg(
        "segment", folder / "notes.txt", folder / "gone.jpg", folder / "china.jpg", "-c", "sky", "--out", folder / "out"
    )

    assert outcome.status == 1
    assert "notes.txt: image: the first bytes" in outcome.err
    assert "gone.jpg: No such file" in outcome.err
    assert "images 1 of 3" in outcome.out
    assert (folder / "out" / "china.png").exists()


def test_a_guess_about_images_is_one_line_that_names_the_first(lexiseg: CommandLine, tmp_path: Path) -> None:
    depth = np.asarray(pictures.small("china", 64).convert("L"), np.uint16)
    for number in range(3):
        Image.fromarray(depth * (10 + number)).save(tmp_path / f"{number}.png")

    outcome = lexiseg("segment", tmp_path, "-c", "sky,trees", "-c", "house", "--out", tmp_path / "o")

    guess, word = [line for line in outcome.err.splitlines() if "warning" in line]
    assert guess.startswith(f"lexiseg: warning: {tmp_path}/0.png: image: values of ")
    assert guess.endswith("; the same holds for 2 more")
    assert word.startswith("lexiseg: warning: 'sky,trees' was looked for as one thing")


def test_a_photograph_is_never_written_over(lexiseg: CommandLine, folder: Path) -> None:
    before = (folder / "flower.png").read_bytes()
    (folder / "circle").symlink_to("circle")

    assert lexiseg("segment", folder / "flower.png", "-c", "flower", "--out", folder).status == 0
    assert (folder / "flower.png").read_bytes() == before
    assert (folder / "flower-2.png").exists()


def test_another_question_gets_a_folder_of_its_own(lexiseg: CommandLine, folder: Path) -> None:
    lexiseg("segment", folder / "china.jpg", "-c", "sky", "--out", folder / "out")
    before = (folder / "out" / "annotations/instances_default.json").read_bytes()

    outcome = lexiseg("segment", folder / "china.jpg", "-c", "tree", "--out", folder / "out")
    again = lexiseg("segment", folder / "china.jpg", "-c", "tree", "--out", folder / "out")

    assert f"annotations/instances_default.json, and a painted picture each in {folder / 'out-2'}/" in outcome.out
    assert "1 of them before" in again.out
    assert (folder / "out" / "annotations/instances_default.json").read_bytes() == before
    assert [category["name"] for category in written(folder / "out-2")["categories"]] == ["tree"]


def answered(content: bytes = b"") -> Segmentation:
    """An answer without segments."""
    return made.answer(size=(4, 4), segments=(), overlay=b"a picture")


def run(out: Path, sources: list[Source], ask: Ask) -> int:
    job = Job(sources, question_of(["sky"], None), out, "coco")
    return segment_remaining(job, ask, (ClassEntry("sky"),), "a model")


def test_the_standard_input_is_another_image_each_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for content in (b"\xff\xd8\xff one", b"\xff\xd8\xff another"):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))
        assert run(tmp_path / "out", [Source("-")], answered) == 0

    assert sorted(path.name for path in (tmp_path / "out").glob("*.png")) == ["stdin-2.png", "stdin.png"]


def test_ctrl_c_keeps_what_is_done_and_the_same_command_goes_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = [tmp_path / f"{index}.jpg" for index in range(12)]
    for path in paths:
        path.write_bytes(b"\xff\xd8\xff" + path.name.encode())
    images = sources_of(paths, Limits())

    class UntilTheEleventh(Source):
        def read(self) -> bytes:
            if self.stem == "10":
                os.kill(os.getpid(), signal.SIGINT)
            return super().read()

    interrupted: list[Source] = [UntilTheEleventh(image.name, image.path) for image in images]
    assert run(tmp_path / "out", interrupted, answered) == INTERRUPTED_STATUS
    assert "goes on with the rest" in capsys.readouterr().err
    kept = written(tmp_path / "out")["images"]
    assert 0 < len(kept) < len(paths)
    assert [Path(image["source"]) for image in kept] == paths[: len(kept)]

    asked: list[bytes] = []

    def remembered(content: bytes) -> Segmentation:
        asked.append(content)
        return answered()

    assert run(tmp_path / "out", images, remembered) == 0
    assert sorted(asked) == [path.read_bytes() for path in sorted(paths[len(kept) :])]
    everything = written(tmp_path / "out")["images"]
    assert [image["id"] for image in everything] == list(range(1, 13))
