"""The project's pictures are asked about, or trained on, by the service."""

import json
from collections.abc import Iterator

import httpx
import pytest
from playwright.sync_api import BrowserContext, FilePayload, Page, Route, expect

from tests import pictures
from tests.integration.playground.asking import CHINA, add, asked_directly, expect_result
from tests.integration.playground.conftest import opened
from tests.integration.server import Server

FLOWER = pictures.encoded(pictures.photograph("flower"), "JPEG")


@pytest.fixture(scope="module")
def server_with_jobs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("jobs")
    places = {"LEXISEG_STATE_DIR": folder, "LEXISEG_TRAININGS": folder / "trainings", "LEXISEG_MODELS_DIR": folder}
    settings = {name: str(place) for name, place in places.items()}
    with Server(folder / "log.jsonl", LEXISEG_JOBS="true", **settings) as running:
        yield running


def with_pictures(page: Page) -> None:
    page.evaluate("document.getElementById('many').open = true")
    named = {"same.jpg": CHINA, "flower.jpg": FLOWER}
    files: list[FilePayload] = [{"name": name, "mimeType": "image/jpeg", "buffer": one} for name, one in named.items()]
    page.set_input_files("#files", files)
    expect(page.locator("#strip li")).to_have_count(2)
    add(page, "sky")
    expect_result(page, "Found sky")


def test_a_job_of_the_project_runs_and_its_answers_come_back(context: BrowserContext, server_with_jobs: Server) -> None:
    page = opened(context, server_with_jobs.url)
    with_pictures(page)
    page.locator("#jobs summary").click()

    page.get_by_role("button", name="Run as a job").click()

    line = page.locator("#jobs-list li")
    expect(line).to_contain_text("2 of 2 pictures")
    with page.expect_download() as download:
        line.get_by_role("button", name="coco").click()
    coco = json.loads(download.value.path().read_text())
    (sky,) = (one for one in asked_directly(server_with_jobs.url, "sky"))
    assert sorted(one["file_name"] for one in coco["images"]) == ["flower.jpg", "same.jpg"]
    assert sky["mask"]["counts"] in [one["segmentation"]["counts"] for one in coco["annotations"]]
    line.get_by_role("button", name="Delete").click()
    expect(line).to_have_count(0)


def test_a_training_on_the_project_is_begun_and_ended(context: BrowserContext, server_with_jobs: Server) -> None:
    page = opened(context, server_with_jobs.url)
    with_pictures(page)
    page.locator("#trainings summary").click()
    page.fill("#new-model", "mine")

    page.get_by_role("button", name="Train", exact=True).click()

    line = page.locator("#trainings-list li")
    expect(line).to_contain_text("mine: ")
    (there,) = httpx.get(f"{server_with_jobs.url}/v1/trainings").json()["trainings"]
    assert (there["name"], there["start"]) == ("mine", "tiny")
    line.get_by_role("button", name="Delete").click()
    expect(line).to_have_count(0)


def test_what_a_training_would_read_is_shown_before_it(context: BrowserContext, server_with_jobs: Server) -> None:
    page = opened(context, server_with_jobs.url)
    with_pictures(page)
    page.locator("#trainings summary").click()
    page.fill("#new-model", "mine")

    page.get_by_role("button", name="Check first").click()

    line = page.locator("#trainings-list li")
    expect(line).to_contain_text("Pictures: sky on ", timeout=120_000)
    expect(line).to_contain_text("expected at least 4", timeout=120_000)
    line.get_by_role("button", name="Delete").click()
    expect(line).to_have_count(0)


def test_a_page_asks_for_no_jobs_or_trainings_where_they_are_off(context: BrowserContext, locked: Server) -> None:
    context.add_init_script("localStorage.setItem('lexiseg-key', 'right')")
    page = opened(context, locked.url)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url.rpartition("/")[2]))

    with page.expect_response("**/playground/jobs.js"):
        page.evaluate("document.getElementById('many').open = true")
    add(page, "sky")

    expect(page.locator("#jobs")).to_be_hidden()
    assert not {"jobs", "trainings"} & {*asked}


def test_a_refused_training_shows_what_it_would_have_changed(context: BrowserContext, server_with_jobs: Server) -> None:
    page = opened(context, server_with_jobs.url)
    refused = {
        "id": "a", "name": "mine", "state": "refused", "detail": "It gained nothing certain.",
        "figures": {
            "changes": [
                {"measure": "IoU wheel", "before": 46.8, "after": 6.54, "low": -48.39, "high": 29.5},
                {"measure": "pixel accuracy", "before": 94.5, "after": 94.5, "low": None, "high": None},
            ],
        },
    }  # fmt: skip
    page.route("**/v1/trainings", lambda route: route.fulfill(json={"trainings": [refused]}))

    page.evaluate("document.getElementById('many').open = true")

    line = page.locator("#trainings-list li")
    expect(line.locator("p")).to_have_text("mine: refused. It gained nothing certain.")
    rows = [row.locator("td").all_text_contents() for row in line.locator("tr").all()]
    assert rows == [
        ["%", "before", "after", "change, 95 %"],
        ["IoU wheel", "46.8", "6.5", "-48.4 to 29.5"],
        ["pixel accuracy", "94.5", "94.5", ""],
    ]


def test_a_model_that_a_training_made_joins_the_picker_when_workers_have_it(
    context: BrowserContext, server_with_jobs: Server
) -> None:
    page = opened(context, server_with_jobs.url)
    training = {"id": "a", "name": "mine", "state": "running", "detail": None, "figures": None}
    models: list[str] = []

    def list_models(route: Route) -> None:
        (tiny,) = (answer := route.fetch().json())["models"]
        route.fulfill(json=answer | {"models": [tiny, *(tiny | {"name": name} for name in models)]})

    page.route("**/v1/trainings", lambda route: route.fulfill(json={"trainings": [training]}))
    page.route("**/v1/models", list_models)
    page.evaluate("document.getElementById('many').open = true")
    page.locator("#trainings summary").click()
    expect(page.locator("#trainings-list li p")).to_have_text("mine: running")

    training["state"] = "done"
    with page.expect_response("**/v1/models"):
        pass
    models.append("mine")

    expect(page.locator("#model option")).to_have_text(["tiny", "mine"])


def test_a_service_without_trainings_offers_none(page: Page) -> None:
    with_pictures(page)

    expect(page.locator("#jobs")).to_be_visible()
    expect(page.locator("#trainings")).to_be_hidden()
