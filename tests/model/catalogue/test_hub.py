"""Downloads from a hub over HTTP: what is announced, resumed and verified, and what each failure says."""

import hashlib
import json
import logging
import threading
from collections.abc import Callable, Iterator
from http.server import ThreadingHTTPServer
from pathlib import Path

import pytest
from huggingface_hub import constants

from lexiseg_model.catalogue.available import AvailableModel
from lexiseg_model.catalogue.hub import fetch, fetch_folder
from lexiseg_model.errors import WeightsError
from tests.http_server import Quiet

COMMIT = "c" * 40
CONFIG, WEIGHTS = b'{"model_type": "small"}', bytes(range(256)) * 64
MODEL = AvailableModel(
    name="small", method="tipsv2", backbone="ViT", hub="somebody/small", download_mb=748, memory_mb=1,
    commercial_use="yes", licence="Apache-2.0", source="nobody", command="lexiseg serve --model small",
)  # fmt: skip
FILES = (("config.json",), ("model.safetensors", "model.safetensors.index.json"))


class Hub(ThreadingHTTPServer):
    """The part of the hub's protocol that a download takes."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files = {"config.json": CONFIG, "model.safetensors": WEIGHTS}
        self.digest = hashlib.sha256(WEIGHTS).hexdigest()
        self.gated = False
        self.bytes_a_reply: int | None = None  # of the weights, before the connection ends
        self.asked: list[str] = []  # ranges of the weights

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Handler(Quiet):
    server: Hub

    def do_HEAD(self) -> None:
        self.answer(body=False)

    def do_GET(self) -> None:
        self.answer(body=True)

    def answer(self, body: bool) -> None:
        name = self.path.rpartition("/")[2]
        if self.path == "/":
            self.reply(200, {}, b"")
        elif self.server.gated:
            self.reply(403, {"X-Error-Code": "GatedRepo"}, b"")
        elif name not in self.server.files:
            self.reply(404, {"X-Error-Code": "EntryNotFound"}, b"")
        else:
            content = self.server.files[name]
            etag = self.server.digest if name == "model.safetensors" else hashlib.sha1(content).hexdigest()
            start = 0
            if body and name == "model.safetensors":
                self.server.asked.append(self.headers.get("Range") or "")
                start = int((self.headers.get("Range") or "bytes=0-").removeprefix("bytes=").partition("-")[0])
            headers = {"ETag": f'"{etag}"', "X-Repo-Commit": COMMIT, "Accept-Ranges": "bytes"}
            if start:
                headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
            sent = content[start:]
            if name == "model.safetensors" and self.server.bytes_a_reply is not None:
                sent = sent[: self.server.bytes_a_reply]
            headers["Content-Length"] = str(len(content) - start)
            self.reply(206 if start else 200, headers, sent if body else b"")

    def reply(self, status: int, headers: dict[str, str], content: bytes) -> None:
        self.send_response(status)
        for name, value in ({"Content-Length": str(len(content))} | headers).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    with Hub() as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        monkeypatch.setattr(constants, "ENDPOINT", server.url)
        monkeypatch.setattr(
            constants, "HUGGINGFACE_CO_URL_TEMPLATE", server.url + "/{repo_id}/resolve/{revision}/{filename}"
        )
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        yield server
        server.shutdown()


def test_a_download_states_size_and_licence_first_and_is_read_from_the_cache_afterwards(
    hub: Hub, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "lexiseg_model"):
        folder = fetch_folder(MODEL, FILES)
    hub.gated = True  # whatever is asked now fails
    again = fetch_folder(MODEL, FILES)

    assert (folder / "model.safetensors").read_bytes() == WEIGHTS
    assert again == folder
    assert "748 MB, licence: Apache-2.0 (commercial use: yes)" in caplog.text


def test_a_download_goes_on_where_the_connection_broke(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.bytes_a_reply = 10_000
    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 1000)  # what the client writes at once; 10 MB
    monkeypatch.setattr("huggingface_hub.file_download.time.sleep", lambda _: None)  # between its retries

    assert (fetch_folder(MODEL, FILES) / "model.safetensors").read_bytes() == WEIGHTS
    assert hub.asked == ["", "bytes=10000-"]


def test_a_file_that_models_share_is_announced_for_the_one_that_needs_it(
    hub: Hub, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    with caplog.at_level(logging.WARNING, "lexiseg_model"):
        fetch("somebody/small", ("model.safetensors",), "weights", "trident-b16")
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")

    assert [record.message.partition(" (")[0] for record in caplog.records] == [
        "downloading somebody/small for trident-b16"
    ]
    with pytest.raises(WeightsError, match=r"trident-b16: no other.bin of somebody/small .* MB, licence: MIT"):
        fetch("somebody/small", ("other.bin",), "weights", "trident-b16")


def of_a_folder() -> Path:
    return fetch_folder(MODEL, FILES) / "model.safetensors"


def of_a_file() -> Path:
    return fetch("somebody/small", ("weights.bin", "model.safetensors"), "weights of small")


either = pytest.mark.parametrize("download", [of_a_folder, of_a_file])
Download = Callable[[], Path]


@either
def test_a_hub_that_always_breaks_off_leaves_nothing_behind(
    download: Download, hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.bytes_a_reply = 0
    monkeypatch.setattr("huggingface_hub.file_download.time.sleep", lambda _: None)
    with pytest.raises(WeightsError, match=r"model\.safetensors from somebody/small ended early"):
        download()

    hub.bytes_a_reply = None

    assert download().read_bytes() == WEIGHTS


@either
def test_a_file_of_another_digest_is_removed(download: Download, hub: Hub) -> None:
    hub.files["model.safetensors"] = WEIGHTS[::-1]

    with pytest.raises(WeightsError, match=f"expected {hub.digest}"):
        download()

    hub.files["model.safetensors"] = WEIGHTS
    assert download().read_bytes() == WEIGHTS


@either
def test_a_gated_repository_says_where_to_accept_and_which_token(download: Download, hub: Hub) -> None:
    hub.gated = True

    with pytest.raises(WeightsError, match=r"somebody/small is gated; accept its licence there and set HF_TOKEN"):
        download()


def test_a_file_that_the_hub_lacks_is_named(hub: Hub) -> None:
    del hub.files["model.safetensors"]

    with pytest.raises(WeightsError, match=r"no model.safetensors of somebody/small .* has no such file"):
        fetch_folder(MODEL, FILES)


def test_without_a_network_the_files_and_the_import_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")

    with pytest.raises(
        WeightsError,
        match=r"no config.json, model.safetensors of somebody/small .*748 MB.* models import --method tipsv2 ",
    ):
        fetch_folder(MODEL, FILES)
    with pytest.raises(WeightsError, match=r"no weights of small \(weights.bin of somebody/small\): not in the"):
        of_a_file()


def test_weights_in_parts_are_found_by_their_index(hub: Hub) -> None:
    del hub.files["model.safetensors"]
    parts = {f"model-0000{number}-of-00002.safetensors": bytes([number]) * 9 for number in (1, 2)}
    index = {"weight_map": {f"layer.{number}": name for number, name in enumerate(parts)}}
    hub.files |= {"model.safetensors.index.json": json.dumps(index).encode(), **parts}

    folder = fetch_folder(MODEL, FILES)

    assert {name: (folder / name).read_bytes() for name in parts} == parts
