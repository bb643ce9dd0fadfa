"""Words that the model was trained on and others, and the sentence encoder that reads them."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from lexiseg_model.catalogue import models as catalogue
from lexiseg_model.catalogue.weights import file_digest
from lexiseg_model.errors import WeightsError
from lexiseg_model.methods.tiny.segmenter import TinySegmenter
from lexiseg_model.methods.tiny.weights import FOLDER
from lexiseg_model.methods.tiny.words import text_tower
from lexiseg_model.methods.tiny.words.familiar import FILE, Familiar, read_familiar
from lexiseg_model.methods.tiny.words.text_tower import (
    INSTALL,
    SETTING,
    SHA256,
    TOKENIZER,
    WEIGHTS,
    MiniLM,
    tower_folder,
)
from lexiseg_model.types import ClassEntry, Vocabulary
from lexiseg_model.vocabulary import class_lists
from lexiseg_model.vocabulary.bank import KnownRows
from lexiseg_train.methods.tiny.texts import write_familiar, write_words


def test_rows_of_another_tower_are_refused(tmp_path: Path) -> None:
    write_familiar(tmp_path, Familiar(["red"], np.ones((1, 2), np.float32), 0.6, None), "tower")

    with pytest.raises(WeightsError, match="belongs to the text tower tower; the installed one is another"):
        read_familiar(tmp_path, "another")


def test_a_damaged_file_is_reported(tmp_path: Path) -> None:
    (tmp_path / FILE).write_bytes(b"nothing of the kind")

    with pytest.raises(WeightsError, match=f"{FILE} is damaged"):
        read_familiar(tmp_path, "tower")


def test_a_trained_model_has_a_bound_of_held_out_synonyms_and_tells_other_languages(
    tmp_path: Path, tower: MiniLM
) -> None:
    synonyms = {"dog": ["puppy", "hound"], "car": ["automobile"], "whale": ["orca"]}

    write_words(tmp_path, ["background", "dog", "car"], synonyms, tower)

    familiar = read_familiar(tmp_path, tower.digest)
    assert familiar is not None
    assert 0.4 < familiar.bound < 0.9
    near, far = familiar.nearest(
        ["a photo of a puppy.", "a photo of a quark."], lambda texts: tower.encode(texts).astype(np.float32)
    )
    assert near.word == "puppy"
    assert near.likeness == pytest.approx(1, abs=0.01)
    assert far.likeness < familiar.bound
    texts = ["a photo of a Fenster.", "a photo of a window."]
    assert [word.is_foreign for word in familiar.nearest(texts, tower.encode)] == [True, False]


def test_words_the_bundled_model_was_not_trained_on_are_unfamiliar(tiny: TinySegmenter) -> None:
    words = ("dog", "puppy", "sky", "quark", "blouse", "cheetah", "a red car")
    classes = tuple(ClassEntry(word) for word in words)

    found = tiny.unfamiliar(classes, KnownRows(tiny))

    assert [words[stranger.class_index] for stranger in found] == ["quark"]
    assert all(stranger.likeness < stranger.bound for stranger in found)


def test_words_that_training_had_no_masks_of_are_explained(tiny: TinySegmenter) -> None:
    classes = (ClassEntry("dog"), ClassEntry("crane"), ClassEntry("flamingo"), ClassEntry("glorbix"))

    explained = tiny.explained(Vocabulary((*classes, ClassEntry("bittern", senses=("a drill",)))))

    assert [len(entry.senses) for entry in explained.classes] == [0, 2, 1, 0, 1]
    assert explained.classes[1].texts[2] == (
        "crane: large long-necked wading bird of marshes and plains in many parts of the world"
    )


def test_long_lists_are_not_explained(tiny: TinySegmenter) -> None:
    vocabulary = Vocabulary(tuple(ClassEntry(f"crane {number}", ("crane",)) for number in range(65)))

    assert tiny.explained(vocabulary) is vocabulary


def test_words_of_photographs_alone_have_no_masks(tmp_path: Path, tower: MiniLM) -> None:
    write_words(tmp_path, ["dog", "puffin"], {"dog": ["puppy"], "puffin": ["sea parrot"]}, tower, ["dog"])

    familiar = read_familiar(tmp_path, tower.digest)

    assert familiar is not None
    assert familiar.words == ("dog", "puffin", "puppy", "sea parrot")
    assert familiar.masked == {"dog", "puppy"}


FOREIGN = {
    "German": "Hund Katze Haus Baum Straße Pferd Vogel Fenster Himmel Wolke Berg Wiese Stuhl Tisch Flugzeug Schiff",
    "Spanish": "perro gato árbol calle coche caballo pájaro ventana cielo nube silla barco manzana vaca oveja persona",
    "French": "chien chat arbre voiture cheval oiseau fenêtre ciel nuage montagne chaise bateau fleur mouton vélo",
    "Chinese": "狗 猫 房子 树 街道 汽车 马 鸟 窗户 天空 云 山 椅子 桌子 飞机 人",
    "Japanese": "いぬ ねこ 家 木 道 車 ウマ とり 窓 空 くも 山 いす つくえ ふね 人間",
    "Russian": "собака кошка дом дерево улица машина лошадь птица окно небо облако гора стул стол корабль",  # noqa: RUF001
    "nonsense": "asdfgh qwertz blorf zxcvbn wug snarkle gribbit xqzt mimsy toves brillig zorp klmnop hjkl vorpal quux",
}


@pytest.mark.parametrize("language", FOREIGN)
def test_words_of_other_languages_and_nonsense_are_unfamiliar(tiny: TinySegmenter, language: str) -> None:
    words = FOREIGN[language].split()

    found = tiny.unfamiliar(tuple(ClassEntry(word) for word in words), KnownRows(tiny))

    missed = {*words} - {words[stranger.class_index] for stranger in found}
    assert len(missed) <= 3, missed  # three of the Spanish ones resemble names of animals


@pytest.mark.parametrize("name", ["cityscapes", "ade847", "lvis"])
def test_english_class_names_are_rarely_taken_for_foreign(tiny: TinySegmenter, name: str) -> None:
    listed = json.loads((class_lists.FOLDER / f"{name}.json").read_text())["classes"]
    some = listed[:: 1 + len(listed) // 200]  # each word is judged alone; thousands of them take the text tower seconds
    classes = tuple(ClassEntry(entry if isinstance(entry, str) else entry["name"]) for entry in some)

    found = tiny.unfamiliar(classes, KnownRows(tiny))

    assert sum(stranger.is_foreign and stranger.likeness >= stranger.bound for stranger in found) <= 0.02 * len(classes)


def test_a_model_without_familiar_words_gives_no_warning(tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    shutil.copytree(FOLDER, folder)
    (folder / FILE).unlink()
    segmenter = catalogue.load_folder(folder, "cpu")

    assert segmenter.unfamiliar((ClassEntry("quark"),), KnownRows(segmenter)) == []


def test_a_row_does_not_depend_on_its_batch_or_on_threads(tower: MiniLM) -> None:
    words = [f"a photo of a {'big ' * (index % 6)}thing {index}." for index in range(text_tower.BATCH + 20)]
    threads = torch.get_num_threads()
    together = tower.encode(words)
    try:
        torch.set_num_threads(2)
        pieces = [tower.encode(words[start : start + 7]) for start in range(0, len(words), 7)]
        left_as_it_was = torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(threads)

    np.testing.assert_array_equal(np.concatenate(pieces), together)
    np.testing.assert_array_equal(tower.encode(words[::-1]), together[::-1])
    assert left_as_it_was


@pytest.fixture(scope="module")
def originals() -> Path:
    """The files of the installed package."""
    return tower_folder()


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    """The package is not installed."""
    monkeypatch.setattr(text_tower, "PACKAGE", "a_package_nobody_has")


def copied(originals: Path, folder: Path) -> Path:
    folder.mkdir(parents=True)
    for name in SHA256:
        shutil.copy(originals / name, folder)
    return folder


def damage(path: Path) -> None:
    """One bit of another value, the size as it was."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def test_the_installed_package_takes_precedence(originals: Path, tmp_path: Path) -> None:
    assert originals.parent.name == text_tower.PACKAGE
    assert tower_folder(copied(originals, tmp_path / "own")) == originals


@pytest.mark.parametrize("name", [WEIGHTS, TOKENIZER])
def test_a_damaged_file_is_refused_by_its_digest(originals: Path, bare: None, tmp_path: Path, name: str) -> None:
    own = copied(originals, tmp_path / "own")
    damage(own / name)

    with pytest.raises(WeightsError, match=rf"{name} of .* has sha256 [0-9a-f]{{64}} instead of {SHA256[name]}"):
        MiniLM(own)


def test_files_are_hashed_once_until_one_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "vocabulary"
    file.write_bytes(b"as published")
    monkeypatch.setattr(text_tower, "SHA256", {file.name: file_digest(file)})
    hashed: list[Path] = []

    def counted(path: Path) -> str:
        hashed.append(path)
        return file_digest(path)

    monkeypatch.setattr(text_tower, "file_digest", counted)

    text_tower.check(tmp_path)
    text_tower.check(tmp_path)
    assert hashed == [file]

    file.write_bytes(b"another")
    with pytest.raises(WeightsError, match="instead of"):
        text_tower.check(tmp_path)


def test_a_missing_tower_is_reported_with_two_remedies(bare: None) -> None:
    with pytest.raises(WeightsError) as failure:
        tower_folder()

    said = str(failure.value)
    assert "\n" not in said
    assert all(way in said for way in (INSTALL, SETTING))


def test_the_catalog_asks_for_the_text_tower_before_anything_is_loaded(
    originals: Path, bare: None, tmp_path: Path
) -> None:
    with pytest.raises(WeightsError, match="the text tower"):
        catalogue.require("tiny")

    own = copied(originals, tmp_path / "own")
    assert catalogue.require("tiny", text_tower=own).card.name == "tiny"
    assert catalogue.load("tiny", device="cpu", text_tower=own).card.name == "tiny"
