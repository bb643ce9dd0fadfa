"""The project's pictures are asked about by the service in the background."""

import json

from playwright.sync_api import BrowserContext, FilePayload, Page

from tests import pictures
from tests.integration.playground.asking import CHINA, add, asked_directly, expect_result
from tests.integration.playground.conftest import opened
from tests.integration.playground.expect import expect
from tests.integration.server import Server

FLOWER = pictures.encoded(pictures.photograph("flower"), "JPEG")


def with_pictures(page: Page) -> None:
    page.evaluate("document.getElementById('many').open = true")
    named = {"same.jpg": CHINA, "flower.jpg": FLOWER}
    files: list[FilePayload] = [{"name": name, "mimeType": "image/jpeg", "buffer": one} for name, one in named.items()]
    page.set_input_files("#files", files)
    expect(page.locator("#strip li")).to_have_count(2)
    add(page, "sky")
    expect_result(page, "Found sky")


def test_a_job_of_the_project_runs_and_its_answers_come_back(page: Page, server: Server) -> None:
    with_pictures(page)
    page.locator("#jobs summary").click()

    with page.expect_response(lambda answer: answer.request.method == "POST" and answer.url.endswith("/jobs")) as made:
        page.get_by_role("button", name="Run as a job").click()

    own = page.locator(f"[name='delete {made.value.json()['id']}']")
    line = page.locator("#jobs-list li").filter(has=own)
    expect(line).to_contain_text("2 of 2 pictures")
    with page.expect_download() as download:
        line.get_by_role("button", name="coco").click()
    coco = json.loads(download.value.path().read_text())
    (sky,) = (one for one in asked_directly(server.url, "sky"))
    assert sorted(one["file_name"] for one in coco["images"]) == ["flower.jpg", "same.jpg"]
    assert sky["mask"]["counts"] in [one["segmentation"]["counts"] for one in coco["annotations"]]
    line.get_by_role("button", name="Delete").click()
    expect(line).to_have_count(0)


def test_a_page_asks_for_no_jobs_where_they_are_off(context: BrowserContext, locked: Server) -> None:
    context.add_init_script("localStorage.setItem('lexiseg-key', 'right')")
    page = opened(context, locked.url)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url.rpartition("/")[2]))

    with page.expect_response("**/playground/project/jobs.js"):
        page.evaluate("document.getElementById('many').open = true")
    add(page, "sky")

    expect(page.locator("#jobs")).to_be_hidden()
    assert "jobs" not in asked
