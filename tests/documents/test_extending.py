"""The package of docs/extending.md does what the page says."""

import tomllib
from pathlib import Path

import pytest

from lexiseg_labels.data_set import DataSet, Picture
from lexiseg_labels.exports import format_of, formats
from lexiseg_labels.segments import MaskOmitted, Segment
from tests.documents.reading import blocks
from tests.service.adapters.asking import IN_TEXT, SQUARE, adapted
from tests.service.commands.command_line import CommandLine
from tests.service.distribution import installed

PAGE = "docs/extending.md"
PACKAGE = "acme_lexiseg"


def the_package() -> tuple[dict[str, str], dict[str, dict[str, str]]]:
    """Its files, and its entry points by the last word of their groups."""
    [described] = blocks(PAGE, "toml")
    groups = tomllib.loads(described.text)["project"]["entry-points"]
    code = "\n\n".join(block.text for block in blocks(PAGE, "py"))
    return {f"{PACKAGE}.py": code}, {group.rpartition(".")[2]: points for group, points in groups.items()}


async def test_its_adapter_answers(tmp_path: Path) -> None:
    files, points = the_package()
    with installed(tmp_path, PACKAGE, files, **points):
        async with adapted("acme", "roboflow") as client:
            answer = await client.post("/adapters/acme/predict", json={"picture": IN_TEXT, "words": ["red", "blue"]})

    assert answer.json() == {"red": SQUARE, "blue": SQUARE}


def test_its_command_is_there(lexiseg: CommandLine, tmp_path: Path) -> None:
    files, points = the_package()
    with installed(tmp_path, PACKAGE, files, **points):
        listed, shown = lexiseg("--help").out, lexiseg("count", "--help").out

    assert "count" in listed
    assert "Count the objects of a word in a photograph." in shown


def test_its_format_is_among_ours(tmp_path: Path) -> None:
    files, points = the_package()
    sky = Segment(1, "sky", 0, 0.9, 6, (0, 0, 3, 2), MaskOmitted())
    with installed(tmp_path, PACKAGE, files, **points):
        written = list(format_of("areas").write(DataSet(["sky"], lambda: [Picture("china", (2, 3), [sky])])))

    assert written == [("china.csv", b"sky,6\n")]


@pytest.mark.parametrize(
    ("module", "said"),
    [("", "does not load: AttributeError"), ("FORMAT = 1", "expected a Format, got int")],
    ids=["no such name", "no format"],
)
def test_a_broken_format_is_an_error_where_it_is_asked_for(module: str, said: str, tmp_path: Path) -> None:
    with installed(tmp_path, PACKAGE, {f"{PACKAGE}.py": module}, exports={"areas": f"{PACKAGE}:FORMAT"}):
        with pytest.raises(ValueError, match=f"format areas: .*{said}"):
            format_of("areas")

        assert "coco" in formats()
