"""What is taken along: masks and cut-outs of each segment, requests that run as they were copied."""

import ast
import io
import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import BrowserContext, Page, Response

from lexiseg_model.errors import OptionError
from lexiseg_service.commands.site import build
from tests import coco
from tests.http_server import serving_files
from tests.integration.playground.asking import (
    CHINA,
    SIZE,
    add,
    ask,
    asked_directly,
    choose,
    drag,
    expect_result,
    unpacked,
)
from tests.integration.playground.conftest import opened, reload
from tests.integration.playground.expect import expect
from tests.integration.server import Server

NAME = 'a, b; it\'s "c".jpg'


def pictures_of(files: dict[str, bytes]) -> dict[str, Image.Image]:
    return {name.rpartition("/")[2]: Image.open(io.BytesIO(content)) for name, content in files.items()}


def of_a_box(answer: Response) -> bool:
    """Where the pointer rests, the page asks for a preview, too."""
    return answer.url.endswith("/v1/segment") and '"box"' in (answer.request.post_data or "")


def test_objects_over_one_another_are_taken_along_whole(page: Page) -> None:
    ask(page, "sky")
    best: list[dict[str, Any]] = []
    for number, corners in enumerate([((380, 10), (630, 180)), ((370, 5), (635, 190))], start=1):
        with page.expect_response(of_a_box) as answered:
            drag(page, *corners)
        best += [one for one in json.loads(answered.value.body())["segments"] if not one["mask_index"]]
        expect_result(page, f"Cut out {number} object")
    page.locator("#export summary").click()
    wanted, names = [coco.decode(one["mask"]) for one in best], [one["label"] for one in best]
    assert (wanted[0] & wanted[1]).any()
    assert names[0] == names[1]

    masks = pictures_of(unpacked(page, "#masks"))  # from back to front: the word's own is the first
    cut = pictures_of(unpacked(page, "#cutouts"))

    assert list(masks) == [f"china-{names[0]}{number}-mask.png" for number in ("", "-2", "-3")]
    assert list(cut) == [f"china-{names[0]}{number}.png" for number in ("", "-2", "-3")]
    for picture, mask in zip(list(masks.values())[1:], wanted, strict=True):
        np.testing.assert_array_equal(np.asarray(picture.convert("L")) == 255, mask)
    for picture, mask, one in zip(list(cut.values())[1:], wanted, best, strict=True):
        left, top, width, height = one["bbox"]
        inside = mask[top : top + height, left : left + width]
        np.testing.assert_array_equal(np.asarray(picture)[..., 3] == 255, inside)


def test_the_masks_alone_and_the_zip_with_the_picture_and_labels_are_the_service_s(page: Page, server: Server) -> None:
    found = [one["mask"] for one in asked_directly(server.url, "sky", "tree")]
    masks = [coco.decode(mask).astype(bool) for mask in found]
    ask(page, "sky", "tree")
    page.locator("#export summary").click()

    with page.expect_download() as download:
        page.click("#coco")
    files = unpacked(page, "#zip")

    exported = json.loads(download.value.path().read_text())
    assert [one["segmentation"]["counts"] for one in exported["annotations"]] == [mask["counts"] for mask in found]
    assert [one["name"] for one in exported["categories"]] == ["sky", "tree"]

    assert files["images/china.jpg"] == CHINA
    annotations = json.loads(files["annotations/instances_default.json"])["annotations"]
    assert [one["area"] for one in annotations] == [mask.sum() for mask in masks]
    masks_in = {name: files[name] for name in files if name.startswith(("label-maps/china", "masks/"))}
    drawn = pictures_of(masks_in)
    np.testing.assert_array_equal(drawn.pop("china.png"), masks[0] + 2 * (masks[1] & ~masks[0]))
    for picture, mask in zip(drawn.values(), masks, strict=True):
        np.testing.assert_array_equal(np.asarray(picture) == 255, mask)


@pytest.fixture
def copied(context: BrowserContext) -> Callable[[Page, str], str]:
    def copy(page: Page, button: str) -> str:
        page.evaluate("document.getElementById('result').textContent = ''")  # of what was copied before
        page.click(button)
        expect_result(page, "Copied.")
        text: str = page.evaluate("navigator.clipboard.readText()")
        return text

    context.grant_permissions(["clipboard-read", "clipboard-write"])
    return copy


def test_what_is_copied_runs(
    context: BrowserContext,
    server: Server,
    copied: Callable[[Page, str], str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    page = opened(context, server.url)
    choose(page, name=NAME)
    add(page, "sky", 'it\'s a "tree";type=a/b')
    expect_result(page, "Found sky")
    page.locator("#export summary").click()
    (tmp_path / NAME).write_bytes(CHINA)

    answer = subprocess.run(copied(page, "#curl"), shell=True, cwd=tmp_path, capture_output=True, check=True)
    monkeypatch.chdir(tmp_path)
    exec(compile(copied(page, "#python"), "copied", "exec"), {})

    assert json.loads(answer.stdout)["size"] == list(SIZE)
    sky = json.loads(answer.stdout)["segments"][0]
    assert capsys.readouterr().out.splitlines()[0] == f"sky {sky['score']} {sky['area']}"


def test_a_key_is_the_environment_s_in_what_is_copied_also_without_tls(
    context: BrowserContext, server: Server, copied: Callable[[Page, str], str]
) -> None:
    page = opened(context, server.url)
    page.evaluate("localStorage.setItem('lexiseg-key', 'secret')")
    page.locator("#export summary").click()

    curl, python = copied(page, "#curl"), copied(page, "#python")

    assert '-H "Authorization: Bearer $LEXISEG_API_KEY"' in curl
    assert 'api_key=os.environ["LEXISEG_API_KEY"]' in python
    assert "secret" not in curl + python
    page.evaluate("window.clipboard = navigator.clipboard")
    page.evaluate("Object.defineProperty(navigator, 'clipboard', { value: undefined, configurable: true })")
    page.evaluate("document.getElementById('result').textContent = ''")
    page.click("#curl")
    expect_result(page, "Copied.")
    assert page.evaluate("window.clipboard.readText()") == curl
    expect(page.locator("#curl")).to_be_focused()


def test_a_link_writes_no_code_into_what_is_copied(
    context: BrowserContext, server: Server, copied: Callable[[Page, str], str]
) -> None:
    link = {"classes": [{"name": "sky", "gloss=breakpoint(), x": "?"}]}
    page = opened(context, f"{server.url}/#{quote(json.dumps(link))}")
    page.locator("#export summary").click()

    names = [each.id for each in ast.walk(ast.parse(copied(page, "#python"))) if isinstance(each, ast.Name)]

    assert "Client" in names
    assert "breakpoint" not in names


def asked_of(context: BrowserContext, url: str) -> Page:
    """The page, isolated by its service worker, with an answer and the exports."""
    page = opened(context, url)
    reload(page)
    choose(page)
    add(page, "sky")
    expect_result(page, "Found sky.")
    page.locator("#export summary").click()
    return page


@pytest.mark.slow
def test_a_question_is_sent_to_the_server_that_the_site_was_written_for(
    context: BrowserContext, folder: Path, server: Server, tmp_path: Path
) -> None:
    build.copy_page(tmp_path / "site", server.url)
    shutil.copytree(folder / "site/model", tmp_path / "site/model", copy_function=os.link)
    build.keep_offline(tmp_path / "site")
    with serving_files(tmp_path) as url:
        page = asked_of(context, f"{url}/site/")
        timings = page.locator("#timings")
        expect(timings).not_to_contain_text(" at ")

        with page.expect_response(f"{server.url}/v1/segment") as answer:
            page.get_by_role("button", name="Send").click()

        expect(timings).to_contain_text(server.url.replace("http://", " at "))
        assert [one["label"] for one in answer.value.json()["segments"]] == ["sky"]
        page.fill("#server", "https://other.example.org")
        page.get_by_role("button", name="Send").click()
        expect_result(page, f"This page may send to {server.url} alone")


@pytest.mark.slow
def test_a_site_for_no_server_gives_the_request_alone(context: BrowserContext, folder: Path, server: Server) -> None:
    context.grant_permissions(["clipboard-read", "clipboard-write"])
    with serving_files(folder) as url:
        page = opened(context, f"{url}/site/")
        choose(page)
        page.locator("#canvas").wait_for()
        page.locator("#export summary").click()
        expect(page.get_by_role("button", name="Send")).to_be_hidden()
        page.get_by_role("button", name="Copy as curl").click()
        expect_result(page, "Enter the address of a server first")
        page.fill("#server", f"{server.url}/")
        page.get_by_role("button", name="Copy as curl").click()
        expect_result(page, "Copied")

        copied = page.evaluate("navigator.clipboard.readText()")

        assert copied.startswith(f"curl -sS {server.url}/v1/segment -F 'image=@china.jpg' --form-string 'request=")
        address = f"{server.url}/v1/models"
        assert (
            page.evaluate("(address) => fetch(address).then(() => 'answered', () => 'refused')", address) == "refused"
        )


@pytest.mark.parametrize(
    "address", ["lexiseg.example.org", "https://a'; script-src *", "https://me:key@a.org", "ftp://a.org"]
)
def test_what_is_no_address_of_a_server_is_refused(address: str) -> None:
    with pytest.raises(OptionError, match="no address of a server"):
        build.policy(address)
