"""`Client.label_folder`: a folder becomes a data set that tools read; a refusal is never an empty answer."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pycocotools.coco import COCO

from lexiseg_client import Client, InvalidValue, LexisegError, Retry, TimedOut, Unreachable
from lexiseg_client.folders import Writer, write_all
from tests import pictures
from tests.clients.scripted_server import Say, scripted
from tests.coco import decode

CLASSES = ["sky", "building"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two pictures, one of them below, and a file that is none."""
    folder = tmp_path / "photos"
    (folder / "below").mkdir(parents=True)
    (folder / "china.jpg").write_bytes(pictures.encoded(pictures.small("china", 200), "JPEG"))
    (folder / "below/china.png").write_bytes(pictures.encoded(pictures.small("china", 160)))
    (folder / "notes.txt").write_text("sky")
    return folder


def test_coco_is_what_its_own_reader_takes(client: Client, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = client.label_folder(folder, CLASSES, to="coco", progress=True)

    assert made.out == folder.with_name("photos-coco")
    assert (made.labelled, made.failed) == (2, {})
    assert "[####################] 2/2 images" in capsys.readouterr().err
    coco = COCO(made.out / "annotations/instances_default.json")
    assert {entry["file_name"] for entry in coco.loadImgs(coco.getImgIds())} == {"china.jpg", "below/china.png"}
    assert (made.out / "images/below/china.png").read_bytes() == (folder / "below/china.png").read_bytes()
    assert [entry["name"] for entry in coco.loadCats(coco.getCatIds())] == CLASSES
    for annotation in coco.loadAnns(coco.getAnnIds()):
        assert decode(annotation["segmentation"]).sum() == annotation["area"]


def test_labelme_finds_each_picture_from_its_file(client: Client, folder: Path) -> None:
    out = client.label_folder(folder, CLASSES, to="labelme").out

    for path in (out / "china.json", out / "below/china.json"):
        content = json.loads(path.read_text())
        with Image.open(path.parent / content["imagePath"]) as picture:
            assert picture.size == (content["imageWidth"], content["imageHeight"])


def test_label_studio_gets_a_task_for_each_picture(client: Client, folder: Path) -> None:
    tasks = json.loads((client.label_folder(folder, CLASSES, to="label-studio").out / "tasks.json").read_text())

    names = [task["data"]["image"] for task in tasks]
    digest = client.segment(folder / "china.jpg", CLASSES).model_digest
    assert names == ["/data/local-files/?d=below/china.png", "/data/local-files/?d=china.jpg"]
    # As its adapter names it.
    assert {task["predictions"][0]["model_version"] for task in tasks} == {f"lexiseg-tiny-{digest[:12]}"}


def test_the_same_call_asks_about_what_is_not_done_and_what_has_changed(client: Client, folder: Path) -> None:
    asked: list[tuple[int, int | None]] = []
    (folder / "damaged.jpg").write_bytes(b"no picture")
    first = client.label_folder(folder, CLASSES, to="yolo", progress=False)
    (folder / "damaged.jpg").write_bytes((folder / "china.jpg").read_bytes())
    (folder / "china.jpg").write_bytes(pictures.encoded(pictures.small("flower", 120), "JPEG"))

    made = client.label_folder(folder, CLASSES, to="yolo", progress=lambda *step: asked.append(step))

    assert (first.labelled, list(first.failed)) == (2, [folder / "damaged.jpg"])
    assert (made.labelled, made.failed, made.not_yet) == (3, {}, {})
    assert asked == [(2, 3), (3, 3)]
    listed = [line for name in ("train.txt", "val.txt") for line in (made.out / name).read_text().split()]
    assert sorted(listed) == ["./images/below/china.png", "./images/china.jpg", "./images/damaged.jpg"]
    assert (made.out / "images/china.jpg").read_bytes() == (folder / "china.jpg").read_bytes()


def test_an_interrupted_call_is_continued(client: Client, folder: Path) -> None:
    asked: list[tuple[int, int | None]] = []

    def stop(count: int, total: int | None) -> None:
        if count == total:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        client.label_folder(folder, CLASSES, to="yolo", progress=stop)

    made = client.label_folder(folder, CLASSES, to="yolo", progress=lambda *step: asked.append(step))

    assert (made.labelled, made.failed, asked) == (2, {}, [(2, 2)])
    listed = [line for name in ("train.txt", "val.txt") for line in (made.out / name).read_text().split()]
    assert sorted(listed) == ["./images/below/china.png", "./images/china.jpg"]


def test_another_question_leaves_the_folder_of_the_first_as_it_was(client: Client, folder: Path) -> None:
    outs = [client.label_folder(folder, classes).out for classes in (CLASSES, ["sky"], CLASSES)]

    first, second = (COCO(out / "annotations/instances_default.json") for out in outs[:2])
    assert [out.name for out in outs] == ["photos-coco", "photos-coco-2", "photos-coco"]
    assert [entry["name"] for entry in first.loadCats(first.getCatIds())] == CLASSES
    assert [entry["name"] for entry in second.loadCats(second.getCatIds())] == ["sky"]
    assert len(second.getImgIds()) == 2


def test_the_pictures_of_a_set_inside_the_folder_are_not_labelled_again(client: Client, folder: Path) -> None:
    made = [client.label_folder(folder, words, out=folder / "set") for words in (CLASSES, CLASSES, ["sky"], ["sky"])]

    assert [(each.out.name, each.labelled) for each in made] == [("set", 2), ("set", 2), ("set-2", 2), ("set-2", 2)]


def test_pictures_that_cannot_be_asked_now_are_no_failures_and_not_in_the_set(client: Client, folder: Path) -> None:
    writer = Writer("coco", folder, None, CLASSES, {"classes": CLASSES})
    away = TimedOut("no answer in 60 seconds")

    made = write_all(
        writer,
        [(folder / "below/china.png", away), (folder / "china.jpg", client.segment(folder / "china.jpg", CLASSES))],
    )

    assert (made.labelled, made.failed, made.not_yet) == (1, {}, {folder / "below/china.png": away})
    assert writer.not_done(sorted(folder.rglob("china.*"))) == [folder / "below/china.png"]


def test_two_pictures_of_one_name_have_a_file_of_labels_each(client: Client, folder: Path) -> None:
    Image.fromarray(np.zeros((20, 20, 3), np.uint8)).save(folder / "china.png")

    made = client.label_folder(folder, CLASSES, to="yolo")

    assert (made.labelled, made.failed) == (3, {})
    assert {path.name for path in (made.out / "labels").glob("*.txt")} == {"china.txt", "china-2.txt"}


def test_where_every_picture_fails_the_reason_is_raised_and_nothing_written(client: Client, folder: Path) -> None:
    with pytest.raises(LexisegError, match="threshold"):
        client.label_folder(folder, CLASSES, threshold=7)

    assert not folder.with_name("photos-coco").exists()


def test_a_server_that_is_away_ends_it_at_the_first_picture(folder: Path) -> None:
    with Client("http://127.0.0.1:9", timeout=0.1) as away, pytest.raises(Unreachable):
        away.label_folder(folder, CLASSES)

    assert not folder.with_name("photos-coco").exists()


def test_an_unknown_form_is_refused_before_anything_is_sent(folder: Path) -> None:
    with Client("http://127.0.0.1:9") as away, pytest.raises(ValueError, match="to: expected one of coco"):
        away.label_folder(folder, CLASSES, to="cut-outs")


def test_what_is_wrong_with_all_pictures_is_asked_once(folder: Path) -> None:
    wrong = {"field": "threshold", "value": 7, "expected": "0 to 1"}
    problem = {"type": "invalid-value", "title": "", "status": 422, "detail": "threshold: ...", "errors": [wrong]}
    say = Say(422, problem, content_type="application/problem+json")
    with scripted(say) as script, Client(script.url) as client, pytest.raises(InvalidValue, match="threshold"):
        client.label_folder(folder, CLASSES, threshold=7, concurrency=1)

    assert len(script.asked) == 1


REFUSALS = {"unauthorized": 401, "rate-limited": 429, "queue-full": 429, "not-ready": 503, "deadline-exceeded": 504}


def refusal(kind: str) -> Say:
    problem = {"type": kind, "title": "", "status": REFUSALS[kind], "detail": f"refused: {kind}"}
    return Say(REFUSALS[kind], problem, content_type="application/problem+json")


@pytest.mark.parametrize("kind", REFUSALS)
def test_a_refusal_is_returned_or_raised_and_no_picture_is_written(folder: Path, kind: str) -> None:
    with scripted(refusal(kind)) as script, Client(script.url, retry=Retry(most=0)) as client:
        outcomes = list(client.map(folder, ["sky"], on_error="return"))
        with pytest.raises(LexisegError, match=kind):
            list(client.map(folder, ["sky"]))
        with pytest.raises(LexisegError, match=kind):
            client.label_folder(folder, ["sky"])

    assert len(outcomes) == 2
    assert all(isinstance(each, LexisegError) and kind in str(each) for each in outcomes)
    assert [path for path in folder.with_name("photos-coco").rglob("*") if path.is_file()] == []
