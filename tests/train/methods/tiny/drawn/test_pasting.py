"""Objects pasted onto another photograph: pixels, labels and presence agree."""

from pathlib import Path

import numpy as np
import pytest
import torch

from lexiseg_train.data.indexed import IGNORE
from lexiseg_train.methods.tiny.drawn.questions import Source, source_of
from lexiseg_train.methods.tiny.sources import OBJECT
from lexiseg_train.methods.tiny.texts import TextTable
from lexiseg_train.training.crops import Photograph, render, resident, write_pack
from tests.train.methods.tiny.drawn import test_examples
from tests.train.methods.tiny.drawn.test_examples import SIZE, drawn_of, examples, states

table = test_examples.table
BALL, ZEBRA = 1, 2


@pytest.fixture
def sources(tmp_path: Path, table: TextTable) -> list[Source]:
    """Dark floors without an object, and bright objects: a ball in one photograph, a zebra in the other."""
    dark = np.full((80, 100, 3), 30, np.uint8)
    floors = write_pack(
        tmp_path / "floors",
        "floors",
        ("background", "box", "ball"),
        [Photograph(f"{index}", dark, np.zeros((80, 100), np.uint8)) for index in range(2)],
    )
    objects = []
    for value in (BALL, ZEBRA):
        mask = np.zeros((60, 60), np.uint8)
        mask[10:50, 20:40] = value
        mask[0, 0] = value  # too small to be cut out
        objects.append(
            Photograph(f"{value}", np.where(mask[..., None] > 0, 220, 120).repeat(3, 2).astype(np.uint8), mask)
        )
    cut = write_pack(tmp_path / "objects", "objects", ("background", "ball", "zebra"), objects)
    return [source_of(pack, 0.5, table, 0.0, 0.72) for pack in (floors, cut)]


def test_labels_and_presence_follow_the_pasted_object(sources: list[Source], table: TextTable) -> None:
    batch = drawn_of(sources, table, 16, paste=1.0, paste_from=("objects",), paste_onto=("floors",))
    crops = render(resident([source.pack for source in sources], torch.device("cpu")), batch.views, SIZE)

    on_floors = [image for image, which in enumerate(batch.views.windows.packs.tolist()) if which == 0]
    assert set(batch.views.onto.tolist()) == set(on_floors)
    for image in on_floors:
        answers, bright = batch.questions.full.targets[image], crops[image].mean(0)[2::4, 2::4].flatten()
        if (answers == 2).sum() > 4:
            assert bright[answers == 2].median() > 2 * bright[answers == 0].median()
            assert states(batch, table, image)["ball"] == 1
        zebra = states(batch, table, image).get("zebra")
        if (answers == IGNORE).any():
            assert zebra != 0


@pytest.fixture
def named(tmp_path: Path, table: TextTable) -> Source:
    """A bright gramophone in the middle of a photograph with one name, cut out."""
    mask = np.zeros((80, 100), np.uint8)
    mask[20:60, 30:70] = OBJECT
    image = np.where(mask[..., None] > 0, 220, 30).repeat(3, 2).astype(np.uint8)
    pack = write_pack(
        tmp_path / "named", "named", (), [Photograph("g", image, mask, ("gramophone",))], ("gramophone", "zebra")
    )
    return source_of(pack, 0.5, table, 0.0, 0.72)


def test_a_cut_out_object_is_asked_for_beside_what_it_is_not(named: Source, table: TextTable) -> None:
    batch = drawn_of([named], table, 4, whole=1.0)

    crops = render(resident([named.pack], torch.device("cpu")), batch.views, SIZE)
    for image in range(4):
        answers, bright = batch.questions.full.targets[image], crops[image].mean(0)[2::4, 2::4].flatten()
        assert bright[answers == 1].median() > 2 * bright[answers == 0].median()
        said = states(batch, table, image)
        assert said["gramophone"] == 1
        assert "tuba" not in said  # much like it: nobody knows
        assert 0 in said.values()


def test_a_pasted_class_that_the_set_lacks_is_decided_on_its_own_pixels_alone(
    sources: list[Source], named: Source, table: TextTable
) -> None:
    pasted_on = {"paste": 1.0, "paste_from": ("named",), "paste_onto": ("floors",)}

    batch = drawn_of([sources[0], named], table, 8, whole=1.0, **pasted_on)

    full, gramophone = batch.questions.full, 3  # behind box and ball
    assert full.undecided is not None
    for image in np.flatnonzero(batch.views.windows.packs.numpy() == 0).tolist():
        pasted = full.targets[image] == gramophone
        assert pasted.any()
        assert not full.undecided[image, gramophone, pasted].any()
        assert full.undecided[image, gramophone, full.targets[image] == 0].all()


def test_a_rival_is_the_most_like_of_what_the_crop_surely_does_not_show(
    sources: list[Source], table: TextTable
) -> None:
    ball = np.array([table.index["ball"]])
    of_objects = examples(sources, table, 1, paste_from=("objects",))

    drawn = [of_objects.rival(ball, np.random.default_rng(seed)) for seed in range(5)]

    assert {each.concept for each in drawn if each is not None} == {table.index["zebra"]}
