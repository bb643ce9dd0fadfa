"""Corrections, by which the prompt head of `tiny` learns: their losses, and what words leave of objects."""

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from lexiseg_model.methods.tiny.network import TinyNetwork
from lexiseg_model.methods.tiny.prompt_head import PromptHead
from lexiseg_model.methods.tiny.prompt_maps import Prompts
from lexiseg_model.methods.tiny.words.text_tower import load_text_tower
from lexiseg_train.data.indexed import write_classes
from lexiseg_train.methods.tiny.prompts.draw import MAX_POINTS
from lexiseg_train.methods.tiny.prompts.trainer import (
    Corrected,
    draw_corrections,
    found_masks,
    harm_losses,
    word_vectors,
)

SIDE = 8
OBJECT = torch.zeros(SIDE, SIDE)
OBJECT[2:6, 2:6] = 1.0
WIDER = torch.zeros(SIDE, SIDE)
WIDER[2:6, 1:7] = 1.0


def logits(mask: Tensor) -> Tensor:
    return torch.where(mask > 0, 6.0, -6.0)[None, None]


def prompts(n: int) -> Prompts:
    points = torch.zeros(1, n, MAX_POINTS, 2)
    signs = torch.zeros(1, n, MAX_POINTS)
    points[:, :, 0], signs[:, :, 0] = 4.0 * SIDE / 2, 1.0
    return Prompts(points, signs, torch.zeros(1, n, 4), torch.zeros(1, n))


def harm(after: Tensor, corrects: float = 1.0) -> float:
    corrected = Corrected(prompts(1), logits(WIDER), torch.tensor([[corrects]]))
    return harm_losses(logits(after), corrected, OBJECT[None, None], torch.ones(1, SIDE, SIDE)).item()


@pytest.mark.parametrize("after", [OBJECT, WIDER], ids=["corrected", "left as it was"])
def test_a_correction_that_spoils_nothing_costs_nothing(after: Tensor) -> None:
    assert harm(after) < 0.05


def test_a_correction_costs_what_it_takes_of_the_object() -> None:
    half = OBJECT.clone()
    half[:, 4:] = 0

    assert harm(half) == pytest.approx(6 * 8 / WIDER.sum().item(), abs=0.1)
    assert harm(half, corrects=0.0) == 0.0


def corrected(targets: Tensor, n: int, found: Tensor | None = None) -> Corrected:
    """The last `n` of the objects [1, N, 64, 64], corrected once by an untrained head."""
    torch.manual_seed(0)
    head = PromptHead().eval()
    with torch.inference_mode():
        shared = head.shared(F.normalize(torch.randn(1, 96, 64, 64), dim=1), torch.randn(1, 3, 128, 128))
        count = prompts(targets.shape[1])
        return draw_corrections(head, shared, count, targets, torch.ones(1, 64, 64), n, rounds=1, by_words=found)


def test_only_the_last_prompts_are_corrected_and_get_a_point() -> None:
    targets = torch.zeros(1, 3, 64, 64)
    for number in range(3):
        targets[:, number, 20 * number : 20 * number + 10, 20:40] = 1.0

    drawn = corrected(targets, 2)

    assert drawn.corrects[0, 0] == 0
    assert torch.equal(drawn.prompts.signs[0, 0], prompts(3).signs[0, 0])
    assert (drawn.prompts.signs[0, 1:, 1] != 0).all()


def test_clicks_correct_what_words_found_where_it_is_near_the_object() -> None:
    n = 40
    targets, found = torch.zeros(1, n, 64, 64), torch.zeros(1, n, 64, 64, dtype=torch.bool)
    targets[..., 20:40, 20:40] = 1.0
    found[:, : n // 2, 20:40, 10:40] = True  # with the same word beside it
    found[:, n // 2 :, 50:, 50:] = True  # of another object

    masks = corrected(targets, n, found).masks[0] > 0

    taken = (masks == found[0]).flatten(1).all(1)
    assert taken[: n // 2].sum() > n / 10
    assert not taken[n // 2 :].any()


@pytest.fixture(scope="module")
def network() -> TinyNetwork:
    torch.manual_seed(0)
    return TinyNetwork().eval()


def test_each_object_has_the_parts_of_its_word_that_touch_it(network: TinyNetwork) -> None:
    words = F.normalize(torch.randn(5, network.embedding, generator=torch.Generator().manual_seed(1)), dim=1)
    cells = torch.full((4, 8), 2)  # the mask value whose word each cell shows
    cells[:, :3] = 4
    cells[3, 7] = 4  # another such thing, that nobody clicks
    targets = torch.zeros(2, 4, 8)
    targets[0, :, :2] = 1.0
    targets[1, :, 3:] = 1.0

    found = found_masks(network, words[cells].permute(2, 0, 1), words, torch.tensor([4, 2]), targets)

    assert torch.equal(found[0], (cells == 4) & (torch.arange(8) < 3))
    assert torch.equal(found[1], cells == 2)


def test_what_is_like_no_word_is_not_found(network: TinyNetwork) -> None:
    words = F.normalize(torch.randn(1, network.embedding), dim=1)
    pixels: Tensor = -words[0][:, None, None].expand(-1, 4, 4)

    assert not found_masks(network, pixels, words, torch.tensor([0]), torch.ones(1, 4, 4)).any()


def test_a_set_without_names_has_no_words(network: TinyNetwork, tmp_path: Path) -> None:
    (tmp_path / "named").mkdir()
    write_classes(tmp_path / "named", ["background", "cup"])
    tower = load_text_tower()

    vectors = word_vectors(network, tower, tmp_path, "named")

    assert vectors is not None
    assert vectors.shape == (2, network.embedding)
    assert word_vectors(network, tower, tmp_path, "nameless") is None
