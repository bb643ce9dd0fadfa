"""JSON, YAML and text of a set: bounded, and read as other systems write them."""

import subprocess
import sys
from pathlib import Path

import pytest

from lexiseg_model.errors import DatasetError
from lexiseg_train.data.files.documents import JsonLimits, read_json, read_yaml

ALIASES = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 10)
)
YAML_BOMBS = {
    "aliases": (f"{ALIASES}names: *a9\n", "anchors and aliases"),
    "an alias of itself": ("names: &a [*a]\n", "anchors and aliases"),
    "an anchor alone": ("names: &a [cat]\n", "anchors and aliases"),
    "a merge": ("base: &b {x: 1}\nnames:\n  <<: *b\n", "anchors and aliases"),
    "deep": ("names: " + "[" * 100_000, "nested more than"),
    "deep in blocks": ("\n".join("  " * depth + f"a{depth}:" for depth in range(200)), "nested more than"),
    "many": ("names: [" + "a," * 400_000 + "]", "more than"),
    "large": ("names: [cat]\n#" + "x" * (1 << 21), "bytes"),
    "a Python object": ('names: !!python/object/apply:os.system ["true"]\n', ""),
}
MEGABYTES = 300  # that reading may take beyond what the program has
CHILD = """
import pathlib, resource, sys
from lexiseg_model.errors import DatasetError
from lexiseg_train.data.files.documents import read_json, read_yaml
now = int(pathlib.Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (now + int(sys.argv[3]) * 2**20,) * 2)
resource.setrlimit(resource.RLIMIT_CPU, (60, 60))
try:
    print("read", type({"yaml": read_yaml, "json": read_json}[sys.argv[1]](pathlib.Path(sys.argv[2]))).__name__)
except DatasetError as error:
    print("refused:", error)
"""


def in_child(kind: str, path: Path) -> str:
    """What reading a file says, in a process with bounded memory and CPU time."""
    command = [sys.executable, "-c", CHILD, kind, str(path), str(MEGABYTES)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr[-500:]
    return done.stdout


@pytest.mark.parametrize("case", YAML_BOMBS)
def test_a_yaml_that_would_take_all_memory_is_refused_in_little(case: str, tmp_path: Path) -> None:
    content, reason = YAML_BOMBS[case]
    (tmp_path / "data.yaml").write_text(content)

    said = in_child("yaml", tmp_path / "data.yaml")

    assert said.startswith("refused:" if reason else "read dict")
    assert reason in said


JSON_BOMBS = {
    "deep lists": ("[" * 1_000_000, "nested too deep"),
    "deep objects": ('{"a":' * 1_000_000, "nested too deep"),
    "many lists": ("[" + "[]," * 8_000_000 + "[]]", "lists and objects"),
    "many values": ("[" + "1," * 45_000_000 + "1]", "values"),
}


@pytest.mark.parametrize("case", JSON_BOMBS)
def test_a_json_that_would_take_all_memory_is_refused_in_little(case: str, tmp_path: Path) -> None:
    content, reason = JSON_BOMBS[case]
    (tmp_path / "a.json").write_text(content)

    said = in_child("json", tmp_path / "a.json")

    assert said.startswith("refused:")
    assert reason in said


def test_a_file_larger_than_its_limit_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("[1, 2, 3]")

    with pytest.raises(DatasetError, match=r"a\.json has more than 5 bytes"):
        read_json(tmp_path / "a.json", JsonLimits(5, 10, 10))


def test_scalars_of_yaml_are_names(tmp_path: Path) -> None:
    (tmp_path / "data.yaml").write_text("names: {0: no, 1: on, 2: 1e3, 3: 2020-01-01}\n")

    assert read_yaml(tmp_path / "data.yaml") == {"names": {"0": "no", "1": "on", "2": "1e3", "3": "2020-01-01"}}
