"""The package of docs/extending.md does what the page says."""

import tomllib
from pathlib import Path

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
        async with adapted("acme", "supervision") as client:
            answer = await client.post("/adapters/acme/predict", json={"picture": IN_TEXT, "words": ["red", "blue"]})

    assert answer.json() == {"red": SQUARE, "blue": SQUARE}


def test_its_command_is_there(lexiseg: CommandLine, tmp_path: Path) -> None:
    files, points = the_package()
    with installed(tmp_path, PACKAGE, files, **points):
        listed, shown = lexiseg("--help").out, lexiseg("count", "--help").out

    assert "count" in listed
    assert "Count the objects of a word in a photograph." in shown
