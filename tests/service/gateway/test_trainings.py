"""The store of trainings, as several processes share it."""

import json
from pathlib import Path
from typing import Any

from structlog.testing import capture_logs

from lexiseg_service.gateway.trainings.training import Training, TrainingStore


def test_one_that_is_being_written_counts_and_is_not_swept(tmp_path: Path) -> None:
    store = TrainingStore(tmp_path)
    seen: list[list[str]] = []

    store.add(Training("a", "", "first", "tiny", 4102444800.0), lambda *_: None)
    store.sweep(before=2.0)
    store.add(Training("b", "", "second", "tiny", 1.0), lambda _, unended: seen.append([each.name for each in unended]))

    assert seen == [["first"]]
    assert (store.all(), store.read("a")) == ([], None)
    assert store.complete("a")
    assert [each.name for each in store.all()] == ["first"]


def test_the_trainings_of_0_4_become_records_and_one_that_cannot_be_read_stays(tmp_path: Path) -> None:
    request: dict[str, Any] = {"owner": "ann", "name": "mine", "start": "tiny", "created": 1.0}
    request |= {"client": "key:ann", "nbytes": 7}
    progress = {"state": "running", "started": 2.0, "found": {"layout": "COCO"}, "begun": 1, "ended": None}
    for identity in ("a", "b", "damaged"):
        (tmp_path / identity).mkdir()
        (tmp_path / identity / "training.json").write_text(json.dumps({"id": identity, **request}))
    (tmp_path / "a" / "state.json").write_text(json.dumps(progress))
    (tmp_path / "a" / "archive.zip").write_bytes(b"a zip")
    (tmp_path / "damaged" / "training.json").write_text("{")

    with capture_logs() as lines:
        store = TrainingStore(tmp_path)
    store.sweep(before=0.0)

    running: dict[str, Any] = {"state": "running", "started": 2.0, "import_report": {"layout": "COCO"}, "attempts": 1}
    assert store.all() == [Training("a", **request, **running), Training("b", **request)]
    assert [(line["training"], line["log_level"]) for line in lines] == [("damaged", "warning")]
    assert [*(tmp_path / "a").iterdir()] == [tmp_path / "a" / "archive.zip"]
    assert (tmp_path / "damaged" / "training.json").exists()
