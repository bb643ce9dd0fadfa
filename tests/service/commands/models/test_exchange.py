"""Model directories that are pushed and pulled: to a folder, and to a real S3 server on this machine."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from lexiseg_model.errors import OptionError, WeightsError
from lexiseg_model.methods.tiny.weights import FOLDER
from lexiseg_service.commands.models.exchange import pull, push
from tests.s3_server import bucket


@pytest.fixture(scope="module")
def s3() -> Iterator[str]:
    """Address of a bucket."""
    with bucket("models") as address:
        yield address


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    """A model directory with a card, two small files, and what is nobody's business."""
    folder = tmp_path / "work" / "mine"
    (folder / "onnx").mkdir(parents=True)
    shutil.copy(FOLDER / "card.yaml", folder)
    (folder / "weights.safetensors").write_bytes(bytes(range(256)) * 40)
    (folder / "onnx" / "graph.onnx").write_bytes(b"graph")
    (folder / ".hidden").write_bytes(b"secret")
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_what_is_pushed_is_pulled(mine: Path, s3: str, tmp_path: Path) -> None:
    push(mine, "mine", s3)

    folder = pull(s3, "mine", tmp_path / "models", replace=False)

    assert folder == tmp_path / "models" / "mine"
    assert contents(folder) == {name: content for name, content in contents(mine).items() if name != ".hidden"}
    assert [path.name for path in (tmp_path / "models").iterdir()] == ["mine"]


def test_of_a_folder_of_training_photographs_and_state_stay_at_home(mine: Path, tmp_path: Path) -> None:
    before = contents(mine)
    (mine / "laid-out" / "packs").mkdir(parents=True)
    (mine / "samples").mkdir()
    for name in ("checkpoint.pt", "laid-out/packs/pixels.bin", "samples/0-me.png", "skipped.jsonl"):
        (mine / name).write_bytes(b"mine")

    assert set(push(mine, "mine", str(tmp_path / "store")).files) == before.keys() - {".hidden"}


def test_a_second_push_sends_what_is_new_alone(mine: Path, tmp_path: Path) -> None:
    store = str(tmp_path / "store")
    push(mine, "mine", store)
    (mine / "onnx" / "graph.onnx").write_bytes(b"another graph")
    sent: list[str] = []

    push(mine, "mine", store, sent.append)

    assert sent == ["onnx/graph.onnx"]
    assert (pull(store, "mine", tmp_path / "models", False) / "onnx/graph.onnx").read_bytes() == b"another graph"


def test_another_model_of_that_name_is_replaced_only_when_asked(mine: Path, tmp_path: Path) -> None:
    store = str(tmp_path / "store")
    push(mine, "mine", store)
    folder = pull(store, "mine", tmp_path / "models", False)
    (folder / "weights.safetensors").write_bytes(b"tuned")

    with pytest.raises(OptionError, match="exists and holds another model; --replace"):
        pull(store, "mine", tmp_path / "models", False)
    assert (folder / "weights.safetensors").read_bytes() == b"tuned"

    pull(store, "mine", tmp_path / "models", True)
    assert (folder / "weights.safetensors").read_bytes() == (mine / "weights.safetensors").read_bytes()


def test_a_model_that_was_never_pushed_is_named(s3: str, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"other/manifest\.json does not exist"):
        pull(s3, "other", tmp_path / "models", False)


def blob(store: Path, content: bytes) -> Path:
    return next(path for path in (store / "mine" / "files").iterdir() if path.read_bytes() == content)


def test_a_damaged_file_is_refused_and_fetched_again_later(mine: Path, tmp_path: Path) -> None:
    store = tmp_path / "store"
    push(mine, "mine", str(store))
    graph = blob(store, b"graph")
    graph.write_bytes(b"grapj")

    with pytest.raises(WeightsError, match=r"onnx/graph\.onnx is damaged: 5 bytes, sha256 "):
        pull(str(store), "mine", tmp_path / "models", False)
    assert not (tmp_path / "models" / "mine").exists()

    graph.write_bytes(b"graph")
    fetched: list[str] = []
    pull(str(store), "mine", tmp_path / "models", False, fetched.append)
    assert "card.yaml" not in fetched  # that came well the first time


def test_a_push_that_is_cut_off_changes_nothing_for_who_pulls(
    mine: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = tmp_path / "store"
    push(mine, "mine", str(store))
    before = contents(pull(str(store), "mine", tmp_path / "models", False))
    (mine / "onnx/graph.onnx").write_bytes(b"new graph")
    (mine / "weights.safetensors").write_bytes(b"new weights")

    def stop(place: str) -> None:
        if place == "weights.safetensors":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        push(mine, "mine", str(store), stop)

    assert contents(pull(str(store), "mine", tmp_path / "others", False)) == before


@pytest.mark.parametrize(
    "place", ["../outside", "/etc/outside", "a/../../outside", "a//b", "a\\b", "a\0b", ".", "..", ""]
)
def test_a_manifest_that_leads_elsewhere_is_refused(mine: Path, tmp_path: Path, place: str) -> None:
    store = tmp_path / "store"
    push(mine, "mine", str(store))
    path = store / "mine" / "manifest.json"
    manifest = json.loads(path.read_text())
    manifest["files"][place] = manifest["files"].pop("onnx/graph.onnx")
    path.write_text(json.dumps(manifest))

    with pytest.raises(WeightsError, match="is not a path inside a model directory"):
        pull(str(store), "mine", tmp_path / "models", False)

    assert not (tmp_path / "models").exists()


@pytest.mark.parametrize(("name", "place"), [("a\0b", None), ("mine", "a\0b")])
def test_a_name_with_a_nul_is_refused_in_words(tmp_path: Path, name: str, place: str | None) -> None:
    with pytest.raises(OptionError, match=r"'.*a\\x00b' is no .*: it has a NUL character"):
        pull(str(tmp_path), name, tmp_path, False, place=place)
