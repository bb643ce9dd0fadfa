"""Built-in class lists and their files."""

import json
from collections import Counter

import pytest

from lexiseg_model.vocabulary.class_lists import FOLDER, NAMES, class_list


def test_no_two_files_write_the_same_classes() -> None:
    written = Counter(json.dumps(json.loads((FOLDER / f"{name}.json").read_bytes()).get("classes")) for name in NAMES)
    del written["null"]

    assert set(written.values()) == {1}


@pytest.mark.parametrize(("name", "base"), [("voc21", "voc20"), ("context60", "context59")])
def test_a_list_has_what_it_does_not_change_from_the_one_it_is_based_on(name: str, base: str) -> None:
    ours, based_on = class_list(name), class_list(base)

    assert (ours.name, ours.background, ours.classes) == (name, True, based_on.classes)
    assert ours.stuff == based_on.stuff
