import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from lexiseg_model.catalogue import models as catalogue
from lexiseg_model.errors import WeightsError
from lexiseg_model.methods.tiny.segmenter import TinySegmenter
from lexiseg_model.methods.tiny.weights import FOLDER
from lexiseg_model.methods.tiny.words.familiar import FILE, Familiar, read_familiar
from lexiseg_model.methods.tiny.words.text_tower import MiniLM
from lexiseg_model.types import ClassEntry, Vocabulary
from lexiseg_model.vocabulary.bank import KnownRows
from lexiseg_train.methods.tiny.texts import write_familiar, write_words

BUILT_IN = Path(__file__).parents[5] / "model/lexiseg_model/vocabulary/lists"


def test_rows_of_another_tower_are_refused(tmp_path: Path) -> None:
    write_familiar(tmp_path, Familiar(["red"], np.ones((1, 2), np.float32), 0.6, None), "tower")

    with pytest.raises(WeightsError, match="belongs to the text tower tower; the installed one is another"):
        read_familiar(tmp_path, "another")


def test_a_damaged_file_is_reported(tmp_path: Path) -> None:
    (tmp_path / FILE).write_bytes(b"nothing of the kind")

    with pytest.raises(WeightsError, match=f"{FILE} is damaged"):
        read_familiar(tmp_path, "tower")


def test_the_bound_is_fitted_on_held_out_synonyms(tmp_path: Path, tower: MiniLM) -> None:
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


def test_words_of_other_languages_are_told_by_a_trained_model_as_well(tmp_path: Path, tower: MiniLM) -> None:
    write_words(tmp_path, ["background", "dog", "car"], {"dog": ["puppy"]}, tower)

    familiar = read_familiar(tmp_path, tower.digest)

    assert familiar is not None
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


@pytest.mark.parametrize("name", ["cityscapes", "coco-stuff", "ade847", "lvis", "pc459"])
def test_english_class_names_are_rarely_taken_for_foreign(tiny: TinySegmenter, name: str) -> None:
    listed = json.loads((BUILT_IN / f"{name}.json").read_text())["classes"]
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
