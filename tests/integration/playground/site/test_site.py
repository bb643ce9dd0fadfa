"""The page without a service: `lexiseg site`, from a folder below a server's root, online once."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from random import Random
from threading import Event
from typing import Any, ClassVar

import httpx
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from playwright.sync_api import Browser, BrowserContext, Page, Playwright, Route

from tests import chromium, coco, pictures
from tests.http_server import QuietFiles, serving, serving_files
from tests.integration.playground.asking import CHINA, add, choose, expect_result, place, segments, until_resolved
from tests.integration.playground.clips import webm
from tests.integration.playground.conftest import opened, reload
from tests.integration.playground.expect import expect
from tests.integration.playground.test_accessibility import answered, violations
from tests.integration.server import Server

pytestmark = pytest.mark.slow

ASK = """async ([act, question]) => {
    const [engine, page] = await Promise.all(["engine/browser.js", "page.js"].map((name) =>
        import(new URL(`playground/${name}`, location.href).href)));
    return engine[act](page.state.picture, question);
}"""
SHOWN = """async () => {
    const { state } = await import(new URL("playground/page.js", location.href).href);
    return state.picture?.file.name;
}"""
WORDS: list[dict[str, Any]] = [
    {"classes": ["sky", "building", "tree"]},
    {"classes": ["sky", "flower", "krokodilo"], "background": False},
    {"classes": ["sky,tree", "house under the trees"]},
]
PARTS: dict[str, Any] = {"classes": ["cat", "heads", "Ears"]}
PROMPTS: list[dict[str, Any]] = [
    {"points": [{"x": 100, "y": 60}]},
    {"box": [200, 60, 470, 330]},
    {"box": [300, 100, 340, 140]},  # looked at closer
    {"points": [{"x": 260, "y": 200}, {"x": 300, "y": 330, "positive": False}, {"x": 200, "y": 250}]},
    {"box": [200, 60, 470, 330], "points": [{"x": 230, "y": 300, "positive": False}]},
    {"box": [300, 100, 340, 140], "points": [{"x": 310, "y": 135, "positive": False}]},
]
TASKS: list[dict[str, Any]] = [
    {"task": "instance", "classes": ["building", "tree", "flower"]},  # trees are stuff
    {"task": "panoptic", "classes": ["sky", "building", "flower"]},
]


@pytest.fixture(scope="module")
def elsewhere() -> list[str]:
    """What `loaded` has asked of anything but its site."""
    return []


@pytest.fixture(scope="module")
def loaded(browser: Browser, site: str, elsewhere: list[str]) -> Iterator[Page]:
    """A page for all tests that need no first visit: each of those loads the model."""
    context = browser.new_context(viewport={"width": 1400, "height": 820})
    context.on(
        "request",
        lambda request: None if request.url.startswith((site, "blob:", "data:")) else elsewhere.append(request.url),
    )
    yield opened(context, site)
    context.close()


def show(page: Page, content: bytes, name: str) -> None:
    choose(page, content, name)
    until_resolved(page, f"async () => (await ({SHOWN})()) === {json.dumps(name)}")


def labels(segments: list[dict[str, Any]], size: list[int]) -> NDArray[np.int64]:
    """[H, W]: the class of each pixel, from 1; 0 for nobody."""
    classes = np.zeros(size, np.int64)
    for segment in segments:
        classes[coco.decode(segment["mask"])] = segment["class_index"] + 1
    return classes


def overlap(*segments: dict[str, Any]) -> float:
    """The IoU of two segments' masks."""
    one, other = (coco.decode(each["mask"]) for each in segments)
    return float((one & other).sum() / (one | other).sum())


def asked(server: Server, content: bytes, question: dict[str, Any]) -> dict[str, Any]:
    files, data = {"image": ("picture.jpg", content)}, {"request": json.dumps(question)}
    answer = httpx.post(f"{server.url}/v1/segment", files=files, data=data, timeout=60).raise_for_status()
    content_of: dict[str, Any] = answer.json()
    return content_of


def test_a_site_that_cannot_be_finished_leaves_nothing_in_its_way(
    folder: Path, real_environment: dict[str, str], tmp_path: Path
) -> None:
    assert (folder / "site/model/image.onnx").stat().st_size > 100 * 1024  # more than may be written
    command = ["bash", "-c", 'ulimit -f 100; exec "$@"', "", sys.executable, "-m", "lexiseg_service.cli", "site"]

    done = subprocess.run(
        [*command, tmp_path / "site"], env=real_environment, capture_output=True, text=True, check=False
    )

    assert (done.returncode, "File too large" in done.stderr) == (1, True), done.stderr
    assert list((tmp_path / "site").iterdir()) == []


def test_a_site_answers_as_the_server_does_and_asks_nobody(loaded: Page, elsewhere: list[str], server: Server) -> None:
    show(loaded, CHINA, "china.jpg")

    for question in WORDS:
        here, there = loaded.evaluate(ASK, ["segment", question]), asked(server, CHINA, question)
        assert (labels(here["segments"], here["size"]) == labels(there["segments"], there["size"])).mean() >= 0.99
        assert here["absent"] == there["absent"]
        warnings = [[(each["type"], each["field"]) for each in one["warnings"]] for one in (here, there)]
        assert warnings[0] == warnings[1]
    random = Random("china")
    clicks = [{"x": random.randrange(640), "y": random.randrange(427)} for _ in range(15)]
    for prompt in [*PROMPTS, *({"points": [click]} for click in clicks)]:
        question = {"prompts": [prompt]}
        pair = [
            loaded.evaluate(ASK, ["prompt", question])["segments"][0],
            asked(server, CHINA, question)["segments"][0],
        ]
        assert overlap(*pair) >= 0.98
    assert elsewhere == []


def test_parts_of_what_is_asked_are_found_as_the_server_finds_them(loaded: Page, server: Server) -> None:
    cat = pictures.encoded(pictures.photograph("chelsea"), "JPEG")
    show(loaded, cat, "chelsea.jpg")

    here, there = loaded.evaluate(ASK, ["segment", PARTS]), asked(server, cat, PARTS)

    assert (labels(here["segments"], here["size"]) == labels(there["segments"], there["size"])).mean() >= 0.99
    assert here["absent"] == there["absent"]


def test_axe_core_finds_nothing_to_object_to(loaded: Page) -> None:
    answered(loaded)

    assert violations(loaded) == []


@pytest.mark.parametrize("name", ["china", "flower"])
def test_a_site_finds_the_objects_that_the_server_finds(loaded: Page, server: Server, name: str) -> None:
    content = pictures.encoded(pictures.photograph(name), "JPEG")
    show(loaded, content, f"{name}.jpg")

    for question in TASKS:
        here, there = loaded.evaluate(ASK, ["segment", question]), asked(server, content, question)
        assert [each["label"] for each in here["segments"]] == [each["label"] for each in there["segments"]]
        for each in here["segments"]:  # scores a thousandth apart may change places
            same = [other for other in there["segments"] if other["label"] == each["label"]]
            assert max(overlap(each, other) for other in same) >= 0.9  # a row of pixels of a small one is 2 to 8 %
        assert here["absent"] == there["absent"]
        assert [each["type"] for each in here["warnings"]] == [each["type"] for each in there["warnings"]]


def test_corrections_are_the_servers_and_warn_as_it_does(loaded: Page, server: Server) -> None:
    show(loaded, CHINA, "china.jpg")
    segments = loaded.evaluate(ASK, ["segment", {"classes": ["sky", "trees"]}])["segments"]

    for segment, points in (
        (segments[0], [{"x": 300, "y": 400}]),
        (segments[0], [{"x": 509, "y": 95, "positive": False}, {"x": 40, "y": 340, "positive": False}]),
        (segments[1], [{"x": 86, "y": 361, "positive": False}, {"x": 200, "y": 200}]),
    ):
        question = {"prompts": [{"mask": segment["mask"], "points": points}]}
        here, there = loaded.evaluate(ASK, ["prompt", question]), asked(server, CHINA, question)

        assert [warning["type"] for warning in there["warnings"]] == ["no-mask-prompts"]
        assert here["warnings"] == there["warnings"]
        assert overlap(here["segments"][0], there["segments"][0]) >= 0.98


def test_a_site_opens_without_a_network_and_says_what_it_cannot_do_there(context: BrowserContext, folder: Path) -> None:
    with serving_files(folder) as url:
        older, foreign = f"{url}/site/ older", "another page of this host"
        page = context.new_page()
        page.goto(f"{url}/site/manifest.json")
        page.evaluate("names => Promise.all(names.map(name => caches.open(name)))", [older, foreign])
        page = opened(context, f"{url}/site/")
        assert not page.evaluate("crossOriginIsolated")  # one thread
        caches = page.evaluate("caches.keys()")
        assert foreign in caches
        assert older not in caches  # its own of before
    reload(page)

    assert page.evaluate("crossOriginIsolated")  # threads
    choose(page)
    add(page, "sky")
    expect_result(page, "Found sky.")
    x, y = the_middle(page)
    page.mouse.click(x, y)
    expect(page.locator("#corrected")).to_have_text("sky")
    add(page, "zyzzyva")
    expect_result(page, "can only be loaded online")


def test_an_update_waits_until_no_page_of_the_version_before_is_open(
    context: BrowserContext, folder: Path, tmp_path: Path
) -> None:
    shutil.copytree(folder / "site", tmp_path / "site", copy_function=os.link)
    served = "async () => (await fetch('playground/video/film.js')).text()"
    with serving_files(tmp_path) as url:
        before = opened(context, f"{url}/site/")
        (name,) = before.evaluate("caches.keys()")
        film, worker = tmp_path / "site/playground/video/film.js", tmp_path / "site/offline.js"
        for path, text in ((film, "// new"), (worker, worker.read_text().replace(name.split()[-1], "new"))):
            path.unlink()  # which others share
            path.write_text(text)
        beside = opened(context, f"{url}/site/")
        until_resolved(beside, "async () => Boolean((await navigator.serviceWorker.getRegistration()).waiting)")
        of_each = [page.evaluate(served) for page in (before, beside)]
        for page in (before, beside):
            page.close()
        after = opened(context, f"{url}/site/")

        assert [text == "// new" for text in [*of_each, after.evaluate(served)]] == [False, False, True]
        film.unlink()
        worker.write_text(worker.read_text().replace(" new`", " broken`"))
        after.evaluate("navigator.serviceWorker.getRegistration().then((site) => site.update())")
        until_resolved(after, "async () => !(await navigator.serviceWorker.getRegistration()).installing")
        assert after.evaluate("caches.keys()") == [
            name.replace(name.split()[-1], "new"),
            name.replace(name.split()[-1], "broken"),
        ]
        expect(after.locator("#loading")).to_be_hidden()


def test_a_site_says_that_only_a_service_finds_everything(loaded: Page) -> None:
    expect(loaded.get_by_role("radio", name="everything")).to_be_disabled()
    expect(loaded.get_by_text("Only a service finds everything without words.")).to_be_visible()
    expect(loaded.get_by_role("button", name="everything, without words")).to_be_hidden()


def the_middle(page: Page) -> tuple[float, float]:
    return place(page, 320, 210)


def test_a_clip_plays_under_its_masks_with_its_speed(context: BrowserContext, site: str) -> None:
    page = opened(context, site)
    page.get_by_role("radio", name="Video").check()
    page.get_by_text("objects", exact=True).click()
    add(page, "building")
    clip = webm((pictures.photograph("china").resize((320, 214)) for _ in range(40)), (320, 214), 10)

    page.set_input_files("#clip", {"name": "walk.webm", "mimeType": "video/webm", "buffer": clip})

    speed = re.compile(r"tiny@1: [\d.]+ frames a second, \d+ ms each, [\d.]+ s behind")
    expect(page.locator("#timings")).to_have_text(speed)
    expect(segments(page).first).to_contain_text("building")
    page.locator("#canvas").click()
    told = "Only a service follows objects: take this frame, and click on it there."
    expect(page.locator("#note")).to_have_text(told)


def test_a_picture_of_36_megapixels_is_shrunk_and_that_is_told(loaded: Page) -> None:
    choose(loaded, pictures.encoded(Image.new("L", (6_000, 6_000)), "PNG"), "field.png")

    told = "field.png was larger than the 24 megapixels that fit into a browser"
    expect(loaded.locator("#note")).to_contain_text(told)
    expect(loaded.locator("#canvas")).to_be_visible()


def test_a_browser_without_web_assembly_is_told(playwright: Playwright, site: str) -> None:
    with chromium.started(playwright, chromium.PROGRAMS, "--js-flags=--jitless") as browser:
        page = opened(browser.new_context(), site)

        expect_result(page, "This browser has no WebAssembly")


@pytest.mark.parametrize(
    ("before", "told"),
    [
        ("import './missing.js'", "cannot start in this browser"),
        ("delete globalThis.Float16Array", "This browser has no Float16Array"),
        (
            "WebAssembly.Memory.prototype.grow = () => { throw new RangeError('Maximum memory size exceeded'); }",
            "There is too little memory",
        ),
    ],
)
def test_an_engine_that_cannot_work_says_why_at_the_first_visit(
    context: BrowserContext, site: str, before: str, told: str
) -> None:
    def changed(route: Route) -> None:
        response = route.fetch()
        route.fulfill(response=response, body=f"{before};\n{response.text()}")

    context.route("**/engine/worker.js", changed)
    page = context.new_page()
    page.goto(site)

    expect_result(page, told)


class Unreliable(QuietFiles):
    """Without the model the line breaks at once; half a model: half way through the network's graph, at `breaks`."""

    arrives: ClassVar[str] = "no model"
    sent: ClassVar[Counter[str]] = Counter()  # a browser may also ask whether what it keeps has changed
    breaks: ClassVar[Event]

    def send_response(self, code: int, message: str | None = None) -> None:
        self.sent[self.path] += code == 200
        super().send_response(code, message)

    def do_GET(self) -> None:
        if self.arrives == "no model" and "/model/" in self.path:
            return None
        if self.arrives != "half a model" or not self.path.endswith("/image.onnx"):
            return super().do_GET()
        content = Path(self.translate_path(self.path)).read_bytes()
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content[: len(content) // 2])
        self.breaks.wait()
        return None


def test_a_first_visit_tells_how_much_has_arrived_and_goes_on_where_it_broke_off(
    context: BrowserContext, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Unreliable, "breaks", breaks := Event(), raising=False)
    with serving(partial(Unreliable, directory=str(folder))) as url:
        page = context.new_page()
        page.goto(f"{url}/site/")
        expect_result(page, "it was never opened online")
        monkeypatch.setattr(Unreliable, "arrives", "half a model")
        page.get_by_role("button", name="Retry now").click()
        expect(page.locator("#loading-words")).to_have_text(re.compile(r"Loading the model, once: \d+ of \d+ MB\."))
        expect(page.locator("#loading")).to_be_visible()
        assert 0 < page.evaluate("document.getElementById('loading-bar').position") < 1
        runtime_file, graph = "/site/model/ort-wasm-simd-threaded.wasm", "/site/model/image.onnx"
        until_resolved(page, f"async () => Boolean(await caches.match('{runtime_file}'))")
        breaks.set()
        expect_result(page, "the line broke")
        before = Unreliable.sent.copy()
        monkeypatch.setattr(Unreliable, "arrives", "all")

        with page.expect_navigation():
            page.get_by_role("button", name="Retry now").click()

        choose(page)
        add(page, "sky")
        expect_result(page, "Found sky.")
        expect(page.locator("#loading")).to_be_hidden()
        assert Unreliable.sent[graph] > before[graph]  # by the page, too, where it was first
        assert Unreliable.sent[runtime_file] == before[runtime_file]
