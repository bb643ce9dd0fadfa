"""One palette: the client, which imports nothing of the model, carries the same module."""

from pathlib import Path

from lexiseg_client.formats import palette
from lexiseg_model import palette as of_model


def test_the_client_s_module_is_the_model_s() -> None:
    assert Path(palette.__file__).read_bytes() == Path(of_model.__file__).read_bytes()
