"""Weights from files of every writer, and what the files tell about their activation."""

import json
import logging
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from lexiseg_model.catalogue.weights import is_torchscript
from lexiseg_model.clip import checkpoint
from lexiseg_model.clip.checkpoint import decide, read_checkpoint
from lexiseg_model.errors import WeightsError
from tests.model.clip import small


class Archive(nn.Module):
    """A module whose state dict looks like an image tower's, to be scripted."""

    def __init__(self) -> None:
        super().__init__()
        self.visual = nn.ModuleDict({"conv1": nn.Conv2d(3, 4, 2, bias=False)})

    def forward(self, images: Tensor) -> Tensor:
        return images


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    path = tmp_path / "ViT-B-16.pt"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.jit.save(torch.jit.script(Archive()), str(path))
    return path


def saved(path: Path, content: Any) -> Path:
    torch.save(content, path)
    return path


def same(found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert torch.equal(found[name], value), name


def prefixed(prefix: str) -> dict[str, Tensor]:
    return {prefix + name: value for name, value in small.state().items()}


@pytest.mark.parametrize(
    "wrap",
    [
        lambda: small.state(),
        lambda: {"state_dict": small.state(), "epoch": 3},
        lambda: {"model": small.state(), "config": {"lr": 1.0}},
        lambda: {"state_dict": prefixed("module.")},
        lambda: {"model": prefixed("backbone.clip_model.") | {"sem_seg_head.x": torch.zeros(1)}},
        lambda: prefixed("_orig_mod.module."),
        lambda: small.state() | {"attn_mask": torch.zeros(77, 77)},
    ],
)
def test_every_wrapping_comes_off(wrap: Callable[[], Any], tmp_path: Path) -> None:
    found = read_checkpoint(saved(tmp_path / "weights.pt", wrap()))

    same(found.state, small.state())


def halves() -> dict[str, Tensor]:
    """Norms in float32 among weights in float16."""
    return {name: value if ".ln_" in name else value.half() for name, value in small.state().items()}


def of_training(name: str) -> dict[str, Any]:
    """A checkpoint of open_clip's training."""
    return {"epoch": 3, "name": f"2024-{name}-lr_0.001", "state_dict": prefixed("module.")}


@pytest.mark.parametrize(
    ("content", "quick"),
    [
        (lambda: small.state() | {name: torch.tensor(7) for name in checkpoint.OPENAI_MARKERS}, True),
        (halves, True),
        (lambda: of_training("ViT-B-16"), False),
        (lambda: of_training("ViT-B-16-quickgelu"), True),
    ],
    ids=["OpenAI's archive", "halves with single norms", "trained with GELU", "trained with QuickGELU"],
)
def test_the_content_of_a_file_says_its_activation(content: Callable[[], Any], quick: bool, tmp_path: Path) -> None:
    found = read_checkpoint(saved(tmp_path / "weights.pt", content()))

    assert found.evidence is not None
    assert found.evidence.quick_gelu is quick
    assert found.state.keys() == small.state().keys()


@pytest.mark.parametrize("quick", [False, True])
def test_a_configuration_beside_the_file_decides(quick: bool, tmp_path: Path) -> None:
    (tmp_path / "open_clip_config.json").write_text(json.dumps({"model_cfg": {"quick_gelu": quick}}))

    found = read_checkpoint(saved(tmp_path / "open_clip_pytorch_model.bin", small.state()))

    assert found.evidence is not None
    assert found.evidence.quick_gelu is quick


def test_a_torchscript_archive_is_refused_unless_it_was_allowed(archive: Path) -> None:
    assert is_torchscript(archive)
    with pytest.raises(WeightsError, match="lexiseg models import"):
        read_checkpoint(archive)

    found = read_checkpoint(archive, allow_torchscript=True)

    assert list(found.state) == ["visual.conv1.weight"]
    assert found.evidence is not None
    assert found.evidence.quick_gelu


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("weights.pt", b"no weights", "plain tensors"),
        ("weights.pt", b"", "plain tensors"),
        ("weights.pt", b"hello", "damaged, cut short, or of another kind"),  # a KeyError inside torch
        ("weights.safetensors", b"no weights", "safetensors"),
    ],
)
def test_damaged_files_are_refused(name: str, content: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)

    with pytest.raises(WeightsError, match=message):
        read_checkpoint(tmp_path / name)


def test_files_of_other_things_are_refused(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="no weights at"):
        read_checkpoint(tmp_path / "none.pt")
    with pytest.raises(WeightsError, match="is a folder; expected a file"):
        read_checkpoint(tmp_path)
    with pytest.raises(WeightsError, match=r"other\.pt: no CLIP weights"):
        read_checkpoint(saved(tmp_path / "other.pt", {"layer1.weight": torch.zeros(2)}))
    with pytest.raises(WeightsError, match="list"):
        read_checkpoint(saved(tmp_path / "list.pt", [torch.zeros(2)]))


@pytest.mark.parametrize("unmarked", [False, True])
def test_an_assumption_is_made_aloud(unmarked: bool, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        assert decide("ViT-B-16", None, None, unmarked) is unmarked

    assert "is assumed" in caplog.text
