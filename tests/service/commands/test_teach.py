"""`lexiseg teach`: a set as tools export it becomes a head, here or at a server, which `segment --head` asks."""

import json
import shutil
from pathlib import Path

import httpx
import pytest

from lexiseg_service.gateway.heads import reviewed_set
from tests.service.commands.command_line import CommandLine, written
from tests.service.commands.command_line import taught as gadgets
from tests.service.gateway.heads.labelled import coco, labelme, yolo
from tests.service.gateway.known_backend import KnownBackend
from tests.service.gateway.rest.test_head_routes import taught
from tests.service.gateway.serving import on_ports
from tests.service.records.stored import ids_in


def kept(tmp_path: Path) -> list[str]:
    """The names of the heads that are kept."""
    return ids_in(tmp_path / "state", "head")


def test_a_set_of_a_tool_is_a_head(lexiseg: CommandLine, tmp_path: Path) -> None:
    yolo(tmp_path / "exported")
    source = shutil.make_archive(str(tmp_path / "packed"), "tar", tmp_path / "exported")

    outcome = lexiseg("teach", source, "--name", "gadgets", "--state-dir", tmp_path / "state")

    assert outcome.status == 0, outcome.err
    first, of_class = outcome.out.splitlines()
    assert ": pictures 3, tiny@" in first
    assert of_class == "  gadget: pictures 3; found by words; 7 more would help"  # they are alike
    assert kept(tmp_path) == ["gadgets"]


def test_a_file_of_labels_teaches_what_is_reviewed_and_says_what_is_left_out(
    lexiseg: CommandLine, tmp_path: Path
) -> None:
    labelme(tmp_path / "set")
    coco(tmp_path / "other")
    (tmp_path / "other/annotations.json").rename(tmp_path / "set/project.json")
    content = json.loads((tmp_path / "set/project.json").read_text())
    content["images"][0]["reviewed"] = True
    (tmp_path / "set/project.json").write_text(json.dumps(content))

    outcome = lexiseg("teach", tmp_path / "set/project.json", "--name", "gadgets", "--state-dir", tmp_path / "state")

    assert outcome.status == 0, outcome.err
    assert ": pictures 1, tiny@" in outcome.out
    assert "warning: photographs that are not marked as reviewed, left out: 2 of 3, such as 1.jpg" in outcome.err


def test_a_set_of_boxes_alone_is_refused_and_says_that_it_has_no_outlines(lexiseg: CommandLine, tmp_path: Path) -> None:
    yolo(tmp_path / "exported")
    for labels in (tmp_path / "exported").rglob("labels/**/*.txt"):
        labels.write_text("0 0.5 0.5 0.25 0.25\n")

    outcome = lexiseg("teach", tmp_path / "exported", "--name", "gadgets", "--state-dir", tmp_path / "state")

    assert outcome.status == 1
    assert "no photograph shows a pixel of a class; 3 of 3 annotations in train are boxes without" in outcome.err
    assert kept(tmp_path) == []


def test_what_was_taught_is_found_before_other_words(lexiseg: CommandLine, tmp_path: Path) -> None:
    here = gadgets(lexiseg, tmp_path)

    outcome = lexiseg(
        *("segment", tmp_path / "set/0.jpg", "--head", "gadgets", "-c", "sky", "-c", "Gadget"),
        *(*here, "--out", tmp_path / "out"),
    )

    assert outcome.status == 0, outcome.err
    found = written(tmp_path / "out")
    assert [category["name"] for category in found["categories"]] == ["gadget", "sky"]
    assert {found["categories"][0]["id"]} <= {each["category_id"] for each in found["annotations"]}


def test_a_set_is_taught_to_a_server_and_asked_there(lexiseg: CommandLine, tmp_path: Path) -> None:
    coco(tmp_path / "set")
    backend = KnownBackend()
    with on_ports(backend) as ports:
        taught = lexiseg("teach", tmp_path / "set", "--name", "gadgets", "--server", ports.url)
        of_worker = [([entry.name for entry in each.vocabulary.classes], each.region_classes) for each in backend.asked]
        asked = lexiseg(
            *("segment", tmp_path / "set/0.jpg", "--head", "gadgets", "--server", ports.url, "--out", tmp_path / "out")
        )

    assert taught.status == 0, taught.err
    assert of_worker == [(["gadget"], (0,))] * 3
    assert asked.status == 0, asked.err
    assert backend.asked[-1].vocabulary.classes[0].learned is not None
    assert [category["name"] for category in written(tmp_path / "out")["categories"]] == ["gadget"]


def test_without_the_importer_nothing_is_taught(
    lexiseg: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reviewed_set, "entry_points_of", lambda _: {})

    outcome = lexiseg("teach", tmp_path, "--name", "gadgets", "--state-dir", tmp_path / "state")

    assert outcome.status == 1
    assert "lexiseg-train" in outcome.err


def test_heads_are_listed_and_deleted_here_and_at_a_server(lexiseg: CommandLine, tmp_path: Path) -> None:
    state = tmp_path / "state"
    with on_ports(KnownBackend(), state_dir=state) as ports:
        url = ports.url
        for name in ("mugs", "plates", "spoons"):
            httpx.post(f"{url}/v1/heads", json=taught(name=name)).raise_for_status()
        at_server = lexiseg("heads", "list", "--server", url)
        deleted = lexiseg("heads", "delete", "plates", "--server", url)
        unknown = lexiseg("heads", "delete", "plates", "--server", url)
    here = lexiseg("heads", "list", "--state-dir", state)
    deleted_here = lexiseg("heads", "delete", "spoons", "--state-dir", state)

    lines = [line for line in at_server.out.splitlines() if line.endswith(": pictures 1, colours@1")]  # others are logs
    assert [line.partition("@")[0] for line in lines] == ["mugs", "plates", "spoons"]
    assert here.out.splitlines() == [lines[0], lines[2]]
    assert (deleted.status, deleted_here.status) == (0, 0)
    assert (unknown.status, "none called 'plates'; `lexiseg heads list` or GET" in unknown.err) == (1, True)
    assert kept(tmp_path) == ["mugs"]
