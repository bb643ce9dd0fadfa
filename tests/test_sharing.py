"""How the processes of pytest-xdist share the tests."""

from __future__ import annotations

from tests.forks import ROOT
from tests.sharing import BY_FILE, SECONDS, WAITING, next_unit, ordered, unit_of

WAITS, COMPUTES = "tests/service/image", "tests/proto"


class Named:
    """As much of a test as is looked at."""

    def __init__(self, nodeid: str) -> None:
        self.nodeid = nodeid


def test_a_folder_is_one_processs_and_files_with_servers_go_one_by_one() -> None:
    assert unit_of("tests/model/masks/test_rle.py::test_one[a/b::c]") == "tests/model/masks"
    assert unit_of("tests/integration/test_grpc.py::test_one") == "tests/integration/test_grpc.py"
    assert unit_of("tests/integration/playground/test_video.py::test_one") == "tests/integration/playground"


def test_the_longest_come_first_and_a_unit_stays_together() -> None:
    long = next(iter(SECONDS))
    come = ["tests/a/test_a.py::test", f"{long}/test_b.py::test", "tests/b/test_c.py::test", "tests/a/test_d.py::test"]

    tests = [test.nodeid for test in ordered([Named(nodeid) for nodeid in come])]  # type: ignore[misc]

    assert tests == [come[1], come[0], come[3], come[2]]


def test_one_process_waits_while_another_computes() -> None:
    assert next_unit([COMPUTES, WAITS], [False, False]) == WAITS
    assert next_unit([WAITS, COMPUTES], [True, True]) == COMPUTES


def test_both_kinds_come_to_their_end_together() -> None:
    assert next_unit([WAITS, COMPUTES, "tests/requirements"], [True, False]) == COMPUTES
    assert next_unit([COMPUTES, WAITS, "tests/service/wire"], [True, False]) == WAITS


def test_what_is_left_is_taken_whatever_the_others_do() -> None:
    assert next_unit([COMPUTES], [False, False]) == COMPUTES
    assert next_unit([WAITS], [True, False]) == WAITS
    assert next_unit([WAITS], [True]) == WAITS


def test_the_lists_name_folders_and_files_that_are_there() -> None:
    assert [unit for unit in (*SECONDS, *BY_FILE, *WAITING) if not (ROOT / unit).exists()] == []
