"""The project's pictures are asked about by the service in the background."""

import json

from playwright.sync_api import Page

from tests.integration.playground.asking import CHINA, FLOWER, add, asked_directly, expect_result
from tests.integration.playground.expect import expect
from tests.integration.playground.project.test_project import add_files
from tests.integration.server import Server


def test_a_job_of_the_project_runs_and_its_answers_come_back(page: Page, server: Server) -> None:
    add_files(page, same=CHINA, flower=FLOWER)
    add(page, "sky")
    expect_result(page, "Found sky")
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
