"""`lexiseg eval benchmark` with the bundled model on a miniature VOC."""

import json
import os
import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import pytest

from lexiseg_service import cli
from tests.processes import run_as_by_torchrun
from tests.service.commands.command_line import CommandLine, Outcome
from tests.train.commands.voc import write_photographs

PHOTOGRAPHS = {"chelsea": 8, "china": 0, "coffee": 5, "flower": 16, "rocket": 1}  # and a VOC label by decree


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_photographs(tmp_path / "data", PHOTOGRAPHS)


@pytest.fixture
def evaluate(lexiseg: CommandLine, root: Path, tmp_path: Path) -> Any:
    def run(*options: object, dataset: str = "voc21", protocol: str = "tcl") -> Outcome:
        return lexiseg(
            "eval", "benchmark", "--protocol", protocol, "--dataset", dataset, "--root", root,
            "--progress", tmp_path / "progress", *options,
        )  # fmt: skip

    return run


def json_and_markdown(out: str) -> tuple[Any, str]:
    values, end = json.JSONDecoder().raw_decode(out)
    return values, out[end:].lstrip()


def test_json_comes_first_and_markdown_after_it(evaluate: Any) -> None:
    outcome = evaluate()

    assert outcome.status == 0, outcome.err
    values, markdown = json_and_markdown(outcome.out)
    assert (values["model"], values["protocol"], values["dataset"], values["images"]) == ("tiny", "tcl", "voc21", 5)
    assert 0 < values["miou"] <= 100
    assert len(values["per_class"]) == 21
    assert {row["method"] for row in values["published"]} > {"TCL", "NACLIP"}
    assert markdown.startswith("## tiny on voc21, protocol tcl")
    assert "| TCL (PAMR) | 55.0 | tcl |" in markdown


def test_all_takes_what_is_there_and_names_the_rest(evaluate: Any) -> None:
    outcome = evaluate("--limit", 1, dataset="all")

    reports, markdown = json_and_markdown(outcome.out)
    assert [report["dataset"] for report in reports] == ["voc21", "voc20"]
    assert "left out: ade20k, split 'val'" in outcome.err
    assert markdown.startswith("| data set | images | mIoU |")


def evaluate_into(folder: Path, *words: str) -> None:
    """One of torchrun's processes; each writes what it prints into a file of its rank."""
    with (folder / os.environ["RANK"]).open("w") as out, redirect_stdout(out):
        sys.argv = ["lexiseg", *words]
        cli.main()


@pytest.mark.slow
def test_two_processes_count_what_one_does(evaluate: Any, root: Path, tmp_path: Path) -> None:
    alone, _ = json_and_markdown(evaluate("--limit", 3).out)
    words = ["eval", "benchmark", "--protocol", "tcl", "--dataset", "voc21", "--root", str(root), "--limit", "3"]

    run_as_by_torchrun(2, evaluate_into, tmp_path, *words, "--progress", str(tmp_path / "shared"))

    together, _ = json_and_markdown((tmp_path / "0").read_text())
    assert together == alone
    assert (tmp_path / "1").read_text() == ""
    assert not list((tmp_path / "shared").iterdir())


def test_a_paper_is_measured_where_its_data_is_there(lexiseg: CommandLine, root: Path, tmp_path: Path) -> None:
    outcome = lexiseg(
        "eval", "paper", "unpair-seg", "--root", root, "--limit", 1,
        "--progress", tmp_path / "progress", "--json", tmp_path / "paper.json",
    )  # fmt: skip

    assert outcome.status == 0, outcome.err
    lines = json.loads((tmp_path / "paper.json").read_text())["lines"]
    measured = {(line["dataset"], line["task"]) for line in lines if line["measured"]}
    assert measured == {("voc20", "semantic"), ("voc21", "semantic")}
    assert "| voc21 | semantic" in outcome.out
    assert "- pidray/annotations.json: " in outcome.out


def test_a_paper_none_of_whose_data_is_there_is_an_error(lexiseg: CommandLine, tmp_path: Path) -> None:
    outcome = lexiseg("eval", "paper", "tcl", "--root", tmp_path, "--progress", tmp_path / "progress")

    assert outcome.status == 1
    assert "- voc21: " in outcome.out
