"""The text tower asked once."""

from collections.abc import Iterator

import pytest

from lexiseg_model.methods.tiny.words.text_tower import MiniLM
from tests.text_rows import RememberedRows


@pytest.fixture(scope="package", autouse=True)
def rows_once(tower: MiniLM) -> Iterator[None]:
    """Trainers want the same rows again and again: the tower is asked once for each string."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tower, "encode", RememberedRows(tower).encode)
        yield
