"""A site of `lexiseg site` in Chromium: `python -m benchmarks site FOLDER`.

Bytes of a first visit; the first mask of a picture of 640 x 480 once the graphs are loaded, on one thread of
WebAssembly; another word and a preview on the same picture; and how memory grows from 20 pictures to 200.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from statistics import median

import psutil
from playwright.sync_api import Response, sync_playwright

from benchmarks.clock import print_table
from tests import chromium
from tests.http_server import QuietFiles, serving

PATIENCE = 120_000.0  # milliseconds
WARM, PICTURES = 20, 200
# Every picture is another one: noise over a gradient.
PREPARE = """async () => {
    window.engine = await import(new URL("playground/engine/chosen.js", location.href).href);
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
    """Measure the site in a folder."""
    folder = arguments[0]
    received: list[int] = []
    with (
        serving(partial(QuietFiles, directory=folder)) as url,
        sync_playwright() as playwright,
        chromium.started(playwright) as browser,
    ):
        page = browser.new_page()
        page.set_default_timeout(PATIENCE)
        page.context.on("response", lambda answer: received.append(bytes_of(answer)))
        page.goto(url)
        page.locator("body[data-ready]").wait_for()
        first_visit = sum(received)
        page.evaluate(PREPARE)
        times: dict[str, list[float]] = page.evaluate(MEASURE)
        page.evaluate(MANY, [6, WARM])
        before = held()
        page.evaluate(MANY, [WARM, PICTURES])
        grown = held() - before
    rows = [[name, f"{median(some):.0f} ms"] for name, some in times.items()]
    rows += [["bytes of the first visit", f"{first_visit / 1e6:.1f} MB"]]
    rows += [[f"memory grown from {WARM} to {PICTURES} pictures", f"{grown / 1e6:.0f} MB"]]
    print_table("Site", ["", "figure"], rows)


def bytes_of(answer: Response) -> int:
    """Of an answer that came over the network, not from the service worker."""
    return 0 if answer.from_service_worker else int(answer.headers.get("content-length", 0))


def held() -> int:
    """Bytes of the pages of the browsers that this process has started."""
    children = psutil.Process().children(recursive=True)
    return sum(child.memory_info().rss for child in children if "--type=renderer" in child.cmdline())
