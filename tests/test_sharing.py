"""How the processes of pytest-xdist share the tests."""

from __future__ import annotations

from tests.sharing import LONGEST, in_turn, unit_of


def test_a_folder_is_one_processs_and_files_with_servers_go_one_by_one() -> None:
    assert unit_of("tests/model/masks/test_rle.py::test_one[a/b::c]") == "tests/model/masks"
    assert unit_of("tests/integration/test_grpc.py::test_one") == "tests/integration/test_grpc.py"
    assert unit_of("tests/integration/playground/test_video.py::test_one") == "tests/integration/playground"


def test_the_longest_come_first_and_what_waits_lies_among_what_computes() -> None:
    waiting = [f"tests/integration/test_{number}.py" for number in range(3)]
    computing = [f"tests/model/{number}" for number in range(6)]

    units = in_turn([*waiting, *reversed(LONGEST), *computing])

    assert units[: len(LONGEST)] == list(LONGEST)
    rest = units[len(LONGEST) :]
    assert [unit for unit in rest if unit in waiting] == waiting
    assert [unit for unit in rest if unit in computing] == computing
    assert [rest.index(unit) for unit in waiting] == [1, 4, 7]
