"""What words leave of objects, as training has it corrected."""

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from lexiseg_model.methods.tiny.network import TinyNetwork
from lexiseg_model.methods.tiny.words.text_tower import load_text_tower
from lexiseg_train.data.indexed import write_classes
from lexiseg_train.methods.tiny.prompts.corrections import found_masks, word_vectors


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
