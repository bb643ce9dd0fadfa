"""Links of the documents lead to files and headings that exist; pictures are described."""

import re
import runpy
from fnmatch import fnmatch
from pathlib import Path
from typing import NamedTuple

import pytest

from lexiseg_model.catalogue.available import AvailableModel, available
from tests.documents.reading import FENCE, ROOT, documents

LINK = re.compile(r"(!?)\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^()\s]+)\)")
HEADING = re.compile(r"^#{1,6} (.+)$", re.MULTILINE)
MAX_WORDS = 32_000  # of all documents
DOCUMENTS = [*documents(), *(path.relative_to(ROOT).as_posix() for path in sorted((ROOT / "examples").rglob("*.md")))]


class Link(NamedTuple):
    """A link or a picture; `words` are its text or description."""

    picture: bool
    words: str
    target: str


def prose(path: Path) -> str:
    return FENCE.sub("", path.read_text(encoding="utf-8"))


def links(path: Path) -> list[Link]:
    return [Link(bool(match[1]), match[2], match[3]) for match in LINK.finditer(prose(path))]


def anchors(path: Path) -> set[str]:
    """The anchors of headings, as forges make them: lower case, hyphens for blanks, no other signs."""
    plain = (re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", match[1]).lower() for match in HEADING.finditer(prose(path)))
    return {re.sub(r"[^\w\- ]", "", heading).strip().replace(" ", "-") for heading in plain}


def is_broken(path: Path, target: str) -> bool:
    if target.startswith(("https://", "http://localhost")):
        return False
    name, _, anchor = target.partition("#")
    file = (path.parent / name).resolve() if name else path
    missing = not file.exists() or not file.is_relative_to(ROOT)
    return missing or (bool(anchor) and file.suffix == ".md" and anchor not in anchors(file))


def test_every_link_leads_somewhere() -> None:
    found = [(document, link.target) for document in DOCUMENTS for link in links(ROOT / document)]

    assert [(document, target) for document, target in found if is_broken(ROOT / document, target)] == []


def test_every_picture_is_described() -> None:
    pictures = [(document, link) for document in DOCUMENTS for link in links(ROOT / document) if link.picture]

    assert pictures
    assert [(document, link.target) for document, link in pictures if len(link.words) < 20] == []


def test_the_index_lists_every_page() -> None:
    folder = ROOT / "docs"
    listed = {(folder / link.target.partition("#")[0]).resolve() for link in links(folder / "README.md")}

    assert set(folder.glob("*.md")) - listed == {folder / "README.md"}


def test_the_documents_stay_short() -> None:
    words = {name: len((ROOT / name).read_text(encoding="utf-8").split()) for name in DOCUMENTS}

    assert sum(words.values()) <= MAX_WORDS
    assert words["README.md"] <= 1000
    assert words["docs/quality.md"] <= 2500


def test_the_modules_of_the_architecture_exist() -> None:
    """In its tables `S/` and `M/` stand for the packages; a bare name lies beside the module before it."""
    rows = "\n".join(line for line in prose(ROOT / "docs/architecture.md").splitlines() if line.startswith("|"))
    rows = rows.replace("`S/", "`service/lexiseg_service/").replace("`M/", "`model/lexiseg_model/")
    missing, folder = [], ROOT
    for name in re.findall(r"`([\w/]+(?:\.py|/))`", rows):
        path = ROOT / name if "/" in name else folder / name
        folder = path.parent
        if "NAME" not in name and not path.exists():
            missing.append(path.relative_to(ROOT))

    assert missing == []


PAGE = (ROOT / "docs/threats.md").read_text(encoding="utf-8")
NAMED = re.compile(r"`(tests/[\w/]+\.py)::(test_\w+)`")
ROWS = re.findall(r"^\|(?!-|\s*threat|\s*door)(.+)\|$", PAGE, re.MULTILINE)


def test_every_threat_names_a_test_or_a_suite() -> None:
    assert len(ROWS) > 25
    assert [row for row in ROWS if not NAMED.search(row.split("|")[-1]) and "`make " not in row.split("|")[-1]] == []


def test_every_named_test_exists() -> None:
    named = NAMED.findall(PAGE)

    assert [name for file, name in named if f"def {name}(" not in (ROOT / file).read_text(encoding="utf-8")] == []


CHECK = runpy.run_path(str(ROOT / "docs/check_doors.py"))


def test_every_door_has_a_row_and_a_test() -> None:
    known = set(CHECK["doors"]())

    assert CHECK["faults"](known, PAGE) == []
    assert CHECK["faults"](known | {"POST /v1/new", "adapter new"}, PAGE) == [
        "POST /v1/new: no row in threats.md, Doors",
        "adapter new: no row in threats.md, Doors",
    ]


SHOWN = ("voc21", "ade20k", "sa-v test", "mose val")


def row(model: AvailableModel) -> str:
    hub = f"`{model.hub}`" if model.hub else "-"
    shown = [name for name in SHOWN if name in model.figures] or model.figures
    figures = ", ".join(f"{name} {model.figures[name]:.1f}" for name in shown) or "-"
    licence = f"{model.commercial_use}: {model.licence}"
    cells = (f"`{model.name}`", model.backbone, hub, f"{model.download_mb:,} MB", licence, figures)
    return f"| {' | '.join(cells)} |"


README = (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ["dense-clip", "tipsv2-l14", "tips-s14", "tcl", "sam2.1-hiera-tiny"])
def test_the_readme_gives_the_download_and_commercial_use_of_the_list(name: str) -> None:
    (line,) = [line for line in README.splitlines() if line.startswith(f"| `{name}`") and line.count("|") == 8]
    model = available()[name]

    assert f"| {model.download_mb:,} MB |" in line
    assert line.split("|")[-2].strip().startswith(model.commercial_use)


@pytest.mark.parametrize(("use", "answer"), [("yes", "yes"), ("no", "no"), ("terms", "read")])
def test_the_readme_says_which_models_a_company_may_use(use: str, answer: str) -> None:
    table = README.partition("## What a company may use")[2].partition("**For a company:**")[0]
    rows = [line.split("|") for line in table.splitlines() if line.count("|") == 3]
    patterns = [name for _, part, says, _ in rows if says.strip().startswith(answer) for name in part.split("`")[1::2]]

    assert {name for name, model in available().items() if model.commercial_use == use} == {
        name for name in available() if any(fnmatch(name, pattern) for pattern in patterns)
    } - ({"tiny"} if use == "yes" else set())  # both: it depends on the weights


def test_the_readme_recommends_the_best_model_that_a_company_may_use() -> None:
    allowed = {
        model.figures.get("ade20k", 0): name for name, model in available().items() if model.commercial_use == "yes"
    }

    assert f"**For a company:** `{allowed[max(allowed)]}` for words" in README


def test_the_table_of_models_is_the_list_of_available_models() -> None:
    lines = (ROOT / "docs/models.md").read_text(encoding="utf-8").splitlines()
    first = next(number for number, line in enumerate(lines) if line.startswith("| model | networks |")) + 2

    assert lines[first : first + len(available()) + 1] == [*map(row, available().values()), ""]


@pytest.mark.parametrize(
    ("words", "check", "value"),
    [
        ("Run on their authors' weights", "proven", "yes"),
        ("Not compared with the released code", "forward_equal", "not compared"),
    ],
)
def test_the_page_of_models_says_what_was_checked(words: str, check: str, value: str) -> None:
    names = [f"`{name}`" for name, model in available().items() if getattr(model, check) == value]

    assert f"{words}: {', '.join(names) or 'none'}." in (ROOT / "docs/models.md").read_text(encoding="utf-8")
