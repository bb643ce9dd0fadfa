"""`lexiseg calibrate`: thresholds are chosen from findings, end in the vocabulary, and questions keep to them."""

import asyncio
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lexiseg_client import Segment
from lexiseg_labels.segments import RunLengths
from lexiseg_model.masks.rle import encode_label_map
from lexiseg_service.commands.image_files import Source
from lexiseg_service.gateway.preconditions import Preconditions
from lexiseg_service.gateway.vocabularies.collection import open_vocabularies
from lexiseg_service.gateway.vocabularies.named import NamedVocabulary
from lexiseg_service.gateway.vocabularies.schemas import VocabularyInput
from lexiseg_service.settings import Settings
from lexiseg_service.watch.metrics import Metrics
from lexiseg_train.commands.calibrate.thresholds import Finding, Findings, choose
from tests import pictures
from tests.labels.formats import made
from tests.service.commands.command_line import CommandLine


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LEXISEG_STATE_DIR", str(tmp_path / "state"))
    return tmp_path / "state"


def put(name: str, class_list: VocabularyInput) -> None:
    async def put_it() -> None:
        vocabularies = open_vocabularies(Settings(), Metrics())
        await vocabularies.put(name, class_list, Preconditions())
        await vocabularies.store.close()

    asyncio.run(put_it())


def kept(name: str) -> NamedVocabulary:
    async def find() -> NamedVocabulary:
        vocabularies = open_vocabularies(Settings(), Metrics())
        try:
            return await vocabularies.find(name)
        finally:
            await vocabularies.store.close()

    return asyncio.run(find())


@pytest.fixture
def photos(tmp_path: Path, state: Path) -> Path:
    """Two photographs, and a vocabulary: what is called fruit is found in one of them."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for name in ("china", "flower"):
        (folder / f"{name}.jpg").write_bytes(pictures.encoded(pictures.small(name, 200), "JPEG"))
    put("mine", VocabularyInput(classes=["sky", "fruit", "zebra"], background=True, source="a test"))
    return folder


@pytest.fixture
def masks(lexiseg: CommandLine, photos: Path, tmp_path: Path) -> Path:
    """The truth: what is found, but that nothing of the second photograph is sky, and nothing at all a zebra."""
    folder = tmp_path / "masks"
    command = ("segment", photos, "--vocabulary", "mine", "--format", "labelmap", "--out", folder, "-q")
    assert lexiseg(*command).status == 0
    for stem, wrong in (("china", (3,)), ("flower", (1, 3))):
        with Image.open(folder / f"{stem}.png") as picture:
            values = np.asarray(picture).copy()
        values[np.isin(values, wrong)] = 0
        Image.fromarray(values).save(folder / f"{stem}.png")
    return folder


def test_thresholds_are_kept_and_hold(lexiseg: CommandLine, photos: Path, masks: Path, tmp_path: Path) -> None:
    command = ("calibrate", photos, "--vocabulary", "mine", "--masks", masks, "--out", tmp_path / "report")

    outcome = lexiseg(*command)

    assert outcome.status == 0, outcome.err
    document = kept("mine").document
    assert document["source"] == "a test"
    sky, fruit, _ = document["classes"]
    assert (fruit["threshold"] or 0.0) < 0.5 < sky["threshold"]  # nothing of fruit is wrong
    asked = ("segment", photos, "--vocabulary", "mine", "--format", "labelmap", "--out", tmp_path / "after", "-q")
    assert lexiseg(*asked).status == 0
    for stem in ("china", "flower"):
        with Image.open(masks / f"{stem}.png") as true, Image.open(tmp_path / "after" / f"{stem}.png") as found:
            assert np.array_equal(np.asarray(true), np.asarray(found)), stem
    page = (tmp_path / "report/report.html").read_text()
    assert "Thresholds of mine" in page
    assert "data:image/jpeg;base64," in page


def test_a_dry_run_keeps_nothing_and_a_built_in_list_is_kept_under_another_name(
    lexiseg: CommandLine, photos: Path, masks: Path, tmp_path: Path
) -> None:
    before = kept("mine").etag
    out = ("--out", tmp_path / "report")

    dry = lexiseg("calibrate", photos, "--vocabulary", "mine", "--masks", masks, "--dry-run", *out)
    named = lexiseg("calibrate", photos, "--vocabulary", "mine", "--masks", masks, "--save-as", "other", *out)

    assert "Nothing is kept." in dry.out
    assert kept("mine").etag == before
    assert named.status == 0, named.err
    assert kept("mine").etag == before
    assert [entry["name"] for entry in kept("other").document["classes"]] == ["sky", "fruit", "zebra"]


def test_the_report_reads_photographs_within_the_limits_of_the_command_line(
    lexiseg: CommandLine, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LEXISEG_MAX_PIXELS", "1000")
    command = ("calibrate", photos, "--vocabulary", "mine", "--dry-run", "--out", tmp_path / "report")

    outcome = lexiseg(*command, "--max-pixels", 1_000_000)

    assert outcome.status == 0, outcome.err


def test_what_cannot_be_calibrated_is_told(lexiseg: CommandLine, photos: Path, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()

    unmasked = lexiseg("calibrate", photos, "--vocabulary", "mine", "--masks", empty)
    unknown = lexiseg("calibrate", photos, "--vocabulary", "nobodys")
    everywhere = lexiseg("calibrate", photos, "--vocabulary", "cityscapes")
    over_grpc = lexiseg("calibrate", photos, "--vocabulary", "mine", "--server", "localhost:50051")
    piped = lexiseg("calibrate", "-", "--vocabulary", "mine")
    Image.new("L", (9, 9)).save(empty / "china.png")
    (empty / "china.jpg").write_bytes((photos / "china.jpg").read_bytes())
    shared = lexiseg("calibrate", photos / "china.jpg", empty / "china.jpg", "--vocabulary", "mine", "--masks", empty)

    assert "china.png" in unmasked.err
    assert "none called 'nobodys'" in unknown.err
    assert "background" in everywhere.err
    assert "gRPC has no vocabularies and heads: name the server by its http address" in over_grpc.err
    assert "not from the standard input" in piped.err
    assert "expected one for each called china, got 'one mask for 2 photographs'" in shared.err
    assert {unmasked.status, unknown.status, everywhere.status, over_grpc.status} == {1}
    assert kept("mine").document["classes"][0]["threshold"] is None


def test_masks_without_any_class_are_refused(lexiseg: CommandLine, photos: Path, tmp_path: Path) -> None:
    folder = tmp_path / "cut-out"
    folder.mkdir()
    for path in photos.iterdir():
        with Image.open(path) as picture:
            Image.new("L", picture.size, 255).save(folder / f"{path.stem}.png")

    outcome = lexiseg("calibrate", photos, "--vocabulary", "mine", "--masks", folder, "--out", tmp_path / "report")

    assert outcome.status == 1
    assert "1 + class index; 0 is no class, 255 is not counted" in outcome.err
    assert kept("mine").document["classes"][0]["threshold"] is None


def right(score: float) -> Finding:
    return Finding("a", score, 90, 100, 100)


def wrong(score: float) -> Finding:
    return Finding("b", score, 0, 100, 0)


NOWHERE = Finding("c", None, 0, 0, 0)


def unmasked(*scores: float) -> list[Finding]:
    return [Finding("a", score) for score in scores]


@pytest.mark.parametrize(
    ("findings", "threshold", "reason"),
    [
        ([right(0.8), right(0.7), wrong(0.5), wrong(0.2)], 0.6, "drops 2 of 4 segments"),
        ([right(0.8), right(0.6), right(0.5), wrong(0.9)], None, "no threshold does better"),
        ([right(0.3)], None, "in one photograph"),
        ([wrong(0.3), NOWHERE], None, "in one photograph"),
        ([wrong(0.4), wrong(0.6), NOWHERE], 0.61, "in none of the photographs, though found in 2"),
        (unmasked(0.2, 0.21, 0.22, 0.25, 0.8, 0.81, 0.84, 0.85, 0.9), 0.525, "4 of 9 lie below it"),
        (unmasked(*(0.1 * step for step in range(1, 10))), None, "two groups"),
        (unmasked(*[0.5] * 12), None, "two groups"),
        (unmasked(0.2, 0.9), None, "found in 2 photographs; 8 or more"),
        ([], None, "found in 0"),
    ],
)
def test_a_threshold_is_chosen_where_there_is_a_reason_for_one(
    findings: list[Finding], threshold: float | None, reason: str
) -> None:
    choice = choose(findings)

    assert choice.threshold == (threshold and pytest.approx(threshold))
    assert reason in choice.reason


def test_the_effect_of_a_threshold_is_that_of_all_other_photographs() -> None:
    choice = choose([right(0.8), right(0.7), wrong(0.5), wrong(0.2)])

    assert choice.before == pytest.approx(180 / 420)
    # All others give 0.45 for the photograph with 0.5: there the wrong one stays.
    assert choice.after == pytest.approx(180 / 320)


def test_the_255th_class_counts_in_a_mask_of_16_bits(tmp_path: Path) -> None:
    values = np.full((4, 4), 255, np.uint16)
    Image.fromarray(values).save(tmp_path / "a.png")
    (whole,) = encode_label_map(np.zeros((4, 4), np.uint8), 1)
    segment = Segment(1, "it", 254, 0.9, 16, (0, 0, 4, 4), RunLengths((4, 4), whole.counts))
    findings = Findings([str(index) for index in range(300)], tmp_path)

    findings.add(Source("a.jpg", Path("a.jpg")), made.answer(size=(4, 4), segments=(segment,)))

    assert findings.by_class[254] == [Finding("a.jpg", 0.9, 16, 16, 16)]
