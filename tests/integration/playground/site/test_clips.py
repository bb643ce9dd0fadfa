"""Video on a page without a service: each frame is segmented by itself."""

import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from tests import pictures
from tests.http_server import QuietFiles, serving
from tests.integration.playground.asking import add, segments
from tests.integration.playground.clips import webm
from tests.integration.playground.conftest import opened

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def site(folder: Path) -> Iterator[str]:
    with serving(partial(QuietFiles, directory=str(folder))) as url:
        yield f"{url}/site/"


@pytest.fixture
def page(context: BrowserContext, site: str) -> Page:
    return opened(context, site)


def test_a_clip_plays_under_its_masks_with_its_speed(page: Page) -> None:
    page.get_by_role("radio", name="Video").check()
    page.get_by_text("objects", exact=True).click()
    add(page, "building")
    clip = webm((pictures.photograph("china").resize((320, 214)) for _ in range(40)), (320, 214), 10)

    page.set_input_files("#clip", {"name": "walk.webm", "mimeType": "video/webm", "buffer": clip})

    expect(page.locator("#timings")).to_have_text(
        re.compile(r"tiny@1: [\d.]+ frames a second, \d+ ms each, [\d.]+ s behind")
    )
    expect(segments(page).first).to_contain_text("building")
    page.locator("#canvas").click()
    expect(page.locator("#note")).to_have_text(
        "Only a service follows objects: take this frame, and click on it there."
    )
