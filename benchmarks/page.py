"""The playground in Chromium: `python -m benchmarks page [FOLDER]`, FOLDER a site of `lexiseg site`.

Load time on a slow connection, and latency from a click to its painted mask. For a service also: from the tenth picture
accepted to what it teaches, painted on the eleventh. For a site also: bytes of the first visit; time to the first mask
of a 640 x 480 image with warm graphs on one WebAssembly thread, for another word and for a preview; and memory growth
from 20 to 200 images.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import psutil
from playwright.sync_api import Browser, FilePayload, Page, Response, expect, sync_playwright

from benchmarks.timing import print_table
from tests import chromium, pictures
from tests.http_server import serving_files
from tests.integration.playground.asking import SIZE, drag
from tests.integration.server import Server

TIMEOUT_MS = 120_000.0
SLOW_NETWORK = {"offline": False, "latency": 400, "downloadThroughput": 50_000, "uploadThroughput": 50_000}
SIZES = {"640 x 480": (640, 480), "12 megapixels": (4000, 3000)}
CLICKS = 7
# Milliseconds from the next click to the frame that shows its mask.
WATCH = """() => {
    const canvas = document.getElementById("canvas");
    let clicked = 0;
    window.painted = [];
    canvas.addEventListener("pointerup", (event) => (clicked = event.timeStamp), true);
    new MutationObserver(() => requestAnimationFrame(() => painted.push(performance.now() - clicked)))
        .observe(canvas, { attributeFilter: ["data-painted"] });
}"""
# Milliseconds from accepting a picture until the next one's answer with what so many pictures taught is painted.
ACCEPT = """async (pictures) => {
    const { state, wordsQuestion } = await import("/playground/page.js");
    const canvas = document.getElementById("canvas");
    const isTaught = () =>
        state.head?.pictures === pictures && state.picture.doc.asked === JSON.stringify(wordsQuestion());
    const began = performance.now();
    document.getElementById("accept").click();
    return new Promise((done) => {
        const look = () => isTaught() && requestAnimationFrame(() => done(performance.now() - began));
        new MutationObserver(look).observe(canvas, { attributeFilter: ["data-painted"] });
    });
}"""
TAUGHT = 10  # pictures
WORD = "gizmo"  # the model knows none
CUP = (0.25, 0.05, 0.75, 0.82)  # left, top, right and bottom of the cup in its photograph
LOADED = "performance.getEntriesByType('navigation')[0].domContentLoadedEventEnd"
WARM_UP_IMAGES, IMAGES = 20, 200
# Each seed gives another image of random rectangles.
PREPARE = """async () => {
    window.engine = await import(new URL("playground/engine/browser.js", location.href).href);
    window.drawn = async (seed) => {
        const canvas = new OffscreenCanvas(640, 480);
        const context = canvas.getContext("2d");
        for (let i = 0; i < 400; i++) {
            context.fillStyle = `hsl(${(i * seed * 37) % 360} 60% ${30 + ((i * 7) % 40)}%)`;
            context.fillRect((i * 97 * seed) % 640, (i * 53) % 480, 90, 60);
        }
        return { id: null, file: await canvas.convertToBlob({ type: "image/jpeg" }) };
    };
}"""
MEASURE = """async () => {
    const timed = async (act) => {
        const began = performance.now();
        await act();
        return performance.now() - began;
    };
    const words = (...classes) => ({ classes });
    const times = { first: [], word: [], preview: [] };
    for (let seed = 1; seed <= 5; seed++) {
        const picture = await drawn(seed);
        times.first.push(await timed(() => engine.segment(picture, words("dog"))));
        times.word.push(await timed(() => engine.segment(picture, words("dog", "car"))));
        await engine.hover(picture, { prompts: [{ points: [{ x: 300, y: 200 }] }] });
        times.preview.push(await timed(() => engine.hover(picture, { prompts: [{ points: [{ x: 320, y: 220 }] }] })));
    }
    return times;
}"""


MANY = """async ([from, to]) => {
    for (let seed = from; seed < to; seed++) await engine.segment(await drawn(seed), { classes: ["dog"] });
}"""


def main(arguments: Sequence[str]) -> None:
    """Measure the page of a service, and of the sites in the given folders."""
    with sync_playwright() as playwright, chromium.started(playwright) as browser:
        with TemporaryDirectory() as folder, Server(Path(folder) / "log.jsonl") as server:
            print_table(
                "Page of a service",
                ["", "figure"],
                [*first_load(browser, server.url), *clicks(browser, server.url), *teaching(browser, server.url)],
            )
        for folder in arguments:
            with serving_files(Path(folder)) as url:
                rows = [*first_load(browser, url, to="html"), *clicks(browser, url), *engine_rows(browser, url)]
                print_table("Site", ["", "figure"], rows)


def first_load(browser: Browser, url: str, to: str = "body[data-ready]") -> list[list[str]]:
    """A first visit at 400 ms latency and 50 kB/s: until the page accepts images, and until `to` exists."""
    page = browser.new_page()
    page.set_default_timeout(TIMEOUT_MS)
    session = page.context.new_cdp_session(page)
    session.send("Network.enable")
    session.send("Network.emulateNetworkConditions", SLOW_NETWORK)
    requests: list[str] = []
    page.on("request", lambda request: requests.append(request.url))
    page.goto(url, wait_until="domcontentloaded")
    count = len(requests)
    page.locator(to).wait_for()
    ready, usable = page.evaluate("performance.now()"), page.evaluate(LOADED)
    page.context.close()
    rows = [["first visit: requests", str(count)], ["until it accepts images", f"{usable / 1e3:.2f} s"]]
    return rows if to == "html" else [*rows, ["until its menus are filled", f"{ready / 1e3:.2f} s"]]


def clicks(browser: Browser, url: str) -> list[list[str]]:
    """Latency from a click to its painted mask, after a first click on the same image."""
    page = browser.new_page(viewport={"width": 1400, "height": 820})
    page.set_default_timeout(TIMEOUT_MS)
    page.goto(url)
    page.locator("body[data-ready]").wait_for()
    page.evaluate(WATCH)
    rows = [[f"click to mask, {name}", f"{median(click_times(page, size)):.0f} ms"] for name, size in SIZES.items()]
    page.context.close()
    return rows


def click_times(page: Page, size: tuple[int, int]) -> list[float]:
    """Milliseconds of single clicks at different points, without the first."""
    content = pictures.encoded(pictures.photograph("china").resize(size), "JPEG")
    page.set_input_files("#file", {"name": "china.jpg", "mimeType": "image/jpeg", "buffer": content})
    page.get_by_text("Type a word, click").wait_for()  # the image is loaded
    box = page.locator("#canvas").bounding_box()
    assert box is not None
    page.evaluate("painted.length = 0")
    for index in range(CLICKS + 1):
        page.locator("#canvas").press("Escape")
        page.mouse.click(box["x"] + box["width"] * (0.3 + 0.05 * index), box["y"] + box["height"] * 0.5)
        page.wait_for_function(f"() => painted.length > {index}")
        page.wait_for_timeout(300)
    times: list[float] = page.evaluate("painted")
    return times[1:]


def teaching(browser: Browser, url: str) -> list[list[str]]:
    """From a picture accepted to what all accepted ones teach, painted on the next; the cup is framed in each."""
    page = browser.new_page(viewport={"width": 1400, "height": 820})
    page.set_default_timeout(TIMEOUT_MS)
    expect.set_options(TIMEOUT_MS)
    page.goto(url)
    page.locator("body[data-ready]").wait_for()
    page.set_input_files("#files", [cup(number) for number in range(TAUGHT + 1)])
    expect(page.locator("#strip li")).to_have_count(TAUGHT + 1)
    page.fill("#word", WORD)
    page.press("#word", "Enter")
    page.get_by_role("button", name="Label all").click()
    expect(page.locator("#strip .new")).to_have_count(0)
    times = []
    for number in range(TAUGHT):
        left, top, right, bottom = (part * side for part, side in zip(CUP, 2 * (SIZE[1], SIZE[0]), strict=True))
        drag(page, (left, top), (right, bottom))
        page.fill("#label", WORD)
        page.press("#label", "Enter")
        expect(page.locator("#corrected")).to_have_text(WORD)
        times.append(page.evaluate(ACCEPT, number + 1))
    page.context.close()
    return [
        ["a picture accepted to the next one taught, median", f"{median(times):.0f} ms"],
        [f"the same of the {TAUGHT}th", f"{times[-1]:.0f} ms"],
    ]


def cup(number: int) -> FilePayload:
    """A picture of a cup, each a little closer than the one before."""
    photograph = pictures.photograph("coffee")
    (width, height), closer = photograph.size, 4 * number
    part = photograph.crop((closer, closer * height // width, width - closer, height - closer * height // width))
    content = pictures.encoded(part.resize((640, 427)), "JPEG")
    return {"name": f"cup-{number}.jpg", "mimeType": "image/jpeg", "buffer": content}


def engine_rows(browser: Browser, url: str) -> list[list[str]]:
    """Latency, download size and memory growth of the browser engine."""
    received: list[int] = []
    page = browser.new_page()
    page.set_default_timeout(TIMEOUT_MS)
    page.context.on("response", lambda response: received.append(network_bytes(response)))
    page.goto(url)
    page.locator("body[data-ready]").wait_for()
    first_visit = sum(received)
    page.evaluate(PREPARE)
    times: dict[str, list[float]] = page.evaluate(MEASURE)
    page.evaluate(MANY, [6, WARM_UP_IMAGES])
    before = renderer_bytes()
    page.evaluate(MANY, [WARM_UP_IMAGES, IMAGES])
    growth = renderer_bytes() - before
    page.context.close()
    return [
        *([name, f"{median(milliseconds):.0f} ms"] for name, milliseconds in times.items()),
        ["bytes of the first visit", f"{first_visit / 1e6:.1f} MB"],
        [f"memory growth from {WARM_UP_IMAGES} to {IMAGES} images", f"{growth / 1e6:.0f} MB"],
    ]


def network_bytes(response: Response) -> int:
    """Bytes that a response took over the network; 0 if the service worker answered."""
    return 0 if response.from_service_worker else int(response.headers.get("content-length", 0))


def renderer_bytes() -> int:
    """Resident bytes of the renderer processes of the browsers that this process started."""
    children = psutil.Process().children(recursive=True)
    return sum(child.memory_info().rss for child in children if "--type=renderer" in child.cmdline())
