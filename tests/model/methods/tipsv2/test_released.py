"""The archives of google-deepmind/tips against its forward passes, on random weights."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from lexiseg_model.cards import InputSize
from lexiseg_model.catalogue import importing
from lexiseg_model.catalogue import models as catalogue
from lexiseg_model.catalogue.available import available
from lexiseg_model.catalogue.method import methods
from lexiseg_model.errors import WeightsError
from lexiseg_model.features import Features
from lexiseg_model.methods.tipsv2.import_ import Options
from lexiseg_model.segmenter import words_of
from tests.model.methods.tipsv2 import released, small

TEXTS = ["red", "a photo of many boats.", "An old wooden rowing boat"]
VISION = "tips_oss_s14_highres_distilled_vision.npz"


def imported(folder: Path) -> Path:
    return importing.import_model(methods()["tipsv2"], "tips-s14", Options(checkpoint=folder), folder / "models")


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_patches_and_rows_are_those_of_the_released_code(seed: int, tmp_path: Path) -> None:
    images, texts = ({name: value.double() for name, value in state.items()} for state in released.save(tmp_path, seed))
    folder = imported(tmp_path)
    side = 56 if seed == 1 else 98  # positions as they are, and resized
    card = catalogue.read_card(folder)
    card = card.model_copy(
        update={
            "input": InputSize(short_side=side, long_side=160, multiple=14),
            "settings": {**card.settings, "window": side, "stride": side},
        }
    )
    ours = catalogue.load_folder(folder, "cpu", "exact", card)
    rgb = np.random.default_rng(seed).integers(0, 256, (side, side, 3), np.uint8)

    features: Features = ours.encode(rgb)
    rows = words_of(ours).encode_texts(TEXTS)

    ids = small.tokenizer()(TEXTS)["input_ids"]
    torch.testing.assert_close(
        features.tensors["patches"][0].double(), released.patches(images, rgb), atol=1e-4, rtol=1e-4
    )
    expected = torch.stack([released.row(texts, each) for each in ids])
    torch.testing.assert_close(torch.from_numpy(rows).double(), expected, atol=1e-4, rtol=1e-4)


def test_the_card_has_the_terms_of_these_files(tmp_path: Path) -> None:
    released.save(tmp_path)

    card = catalogue.read_card(imported(tmp_path))

    assert (card.embedding, card.commercial_use) == (released.WIDTH, "ask")
    assert "CC BY 4.0" in card.licence
    assert VISION in card.lineage


def test_what_is_on_no_hub_names_the_import() -> None:
    with pytest.raises(WeightsError, match=r"tips-s14 is on no hub.*models import --method tipsv2"):
        catalogue.require("tips-s14")
    assert available()["tips-s14"].hub is None


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def changed(name: str, array: NDArray[np.float32] | None) -> Callable[[Path], None]:
    """A change of an archive: another array of a name; None: it has none."""

    def change(file: Path) -> None:
        with np.load(file) as archive:
            arrays = dict(archive) | {name: array}
        np.savez(file, **{key: value for key, value in arrays.items() if value is not None})

    return change


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (cut, "vision.npz is damaged, cut short"),
        (changed("norm.weight", None), "no array 'norm.weight'; expected TIPS S, B or L"),
        *(
            (changed("norm.weight", np.ones(width, np.float32)), f"a width of {width}; expected 384, 768, 1024")
            for width in (0, 400)
        ),
        (changed("pos_embed", np.ones((1, 0, 384), np.float32)), "vision.npz: pos_embed of 0 positions; expected"),
        (
            changed("blocks.1.attn.proj.bias", np.ones(7, np.float32)),
            r"_vision.npz, .*_text.npz: weights of another TIPS",
        ),
        (Path.unlink, r"has no \*_vision.npz"),
        (lambda file: (file.parent / "2_vision.npz").write_bytes(b""), r"has 2 files \*_vision.npz"),
        (lambda file: (file.parent / "tokenizer.json").unlink(), "has none of tokenizer.json, tokenizer.model"),
    ],
)
def test_a_folder_that_is_no_release_is_refused(change: Callable[[Path], object], says: str, tmp_path: Path) -> None:
    released.save(tmp_path)
    change(tmp_path / VISION)

    with pytest.raises(WeightsError, match=says):
        imported(tmp_path)
