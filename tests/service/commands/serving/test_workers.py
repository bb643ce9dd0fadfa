"""`lexiseg serve --workers auto`: how many fit."""

import sys

import pytest

from lexiseg_model.errors import ModelError
from lexiseg_service.commands.serving.gateway import run as run_gateway
from lexiseg_service.commands.serving.serve import Room, count, fitting
from lexiseg_service.errors import InvalidValue
from lexiseg_service.settings import Settings

GB = 10**9


@pytest.mark.parametrize(
    ("room", "expected"),
    [
        (Room(2, 8 * GB, None, GB // 8), 1),
        (Room(16, 64 * GB, None, GB // 8), 4),
        (Room(16, 3 * GB, None, GB // 8), 2),  # memory is short
        (Room(16, 64 * GB, 80 * GB, 2 * GB), 4),
        (Room(16, 64 * GB, 8 * GB, 2 * GB), 2),  # the GPU's is
        (Room(256, 512 * GB, 80 * GB, GB // 8), 8),
        (Room(16, 6 * GB, 80 * GB, 4 * GB), 4),  # weights on a GPU take none of the machine's memory
        (Room(16, None, None, GB), 4),  # unknown, as on a Mac
        (Room(16, GB // 4, None, GB), 1),
    ],
)
def test_cores_and_memory_say_how_many_workers_fit(room: Room, expected: int) -> None:
    assert fitting(room) == expected


def test_auto_looks_at_this_machine_without_torch_in_this_process() -> None:
    imported = set(sys.modules)

    assert 1 <= count(Settings(workers=("auto",), device="cpu")) <= 8
    assert "torch" not in set(sys.modules) - imported


@pytest.mark.parametrize(("model", "device"), [("no-such-model", "cpu"), ("tiny", "cuda:99")])
def test_auto_says_what_is_wrong_with_models_and_device(model: str, device: str) -> None:
    with pytest.raises(ModelError, match=r"no-such-model|cuda:99"):
        count(Settings(workers=("auto",), model=model, device=device))


@pytest.mark.parametrize("number", ["0", "65"])
def test_another_number_is_refused(number: str) -> None:
    with pytest.raises(InvalidValue, match="1 to 64 worker processes, or auto"):
        count(Settings(workers=(number,) if number else ()))


@pytest.mark.parametrize("number", ["auto", "2", ""])
def test_a_gateway_takes_addresses_alone(number: str) -> None:
    with pytest.raises(InvalidValue, match="expected HOST:PORT"):
        run_gateway(Settings(workers=(number,) if number else ()))
