"""The library is found, refused where it is another's, and done without where there is none."""

import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from lexiseg_model.kernel import library


def built() -> Path:
    return next(library.FOLDER.glob("_kernel*.so"))


def test_what_is_no_library_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / built().name).write_bytes(b"not a library")

    assert library.load(tmp_path) is None


def test_a_library_built_from_other_sources_is_left_alone(tmp_path: Path) -> None:
    source = "#include <stdint.h>\nint64_t lexiseg_kernel_version(void) { return -7; }\n"
    (tmp_path / "other.c").write_text(source)
    compiler = shutil.which("cc") or pytest.skip("there is no C compiler")
    command = [compiler, "-shared", "-fPIC", str(tmp_path / "other.c"), "-o", str(tmp_path / built().name)]
    subprocess.run(command, check=True)

    assert library.load(tmp_path) is None


def test_the_sources_and_their_caller_count_the_same_version() -> None:
    stated = re.search(r"#define LEXISEG_KERNEL_VERSION (\d+)", (library.FOLDER / "kernel.h").read_text())

    assert stated is not None
    assert int(stated[1]) == library.VERSION


def test_memory_that_cannot_be_had_is_a_memory_error() -> None:
    scores, nothing = np.zeros((1, 1, 1), np.float32), np.zeros(1, np.int64)
    axis = (nothing, np.zeros(1, np.float32), 1)
    outputs = (np.zeros(1, np.uint8), 0, None, np.zeros(1), None, None, 0)

    with pytest.raises(MemoryError, match="outcome"):
        library.call("outcome", scores, 1, 1 << 28, 1 << 28, 1, *axis, *axis, *outputs)
