"""Pages of other sites, in a real browser, before a service on this machine."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, Playwright, Response

from tests import chromium
from tests.integration.playground.conftest import PATIENCE
from tests.service.gateway.known_backend import KnownBackend
from tests.service.gateway.serving import Ports, on_ports

EVIL = "evil.example"
SCRIPT = """async () => {
  const asked = [["PUT", "/v1/vocabularies/mine", '{"classes": ["sky"]}'], ["DELETE", "/v1/data", null]];
  return Promise.all(asked.map(async ([method, path, body]) => {
    return (await fetch(path, { method, body, headers: { "content-type": "application/json" } })).status;
  }));
}"""


@pytest.fixture(scope="module")
def backend() -> KnownBackend:
    return KnownBackend()


@pytest.fixture(scope="module", params=["127.0.0.1", "0.0.0.0"], ids=["on loopback", "as in a container"])
def service(backend: KnownBackend, request: pytest.FixtureRequest) -> Iterator[Ports]:
    with on_ports(backend, host=request.param) as ports:
        yield ports


@pytest.fixture(scope="module")
def deceived(playwright: Playwright) -> Iterator[Browser]:
    """A browser whose DNS leads one name to this machine."""
    with chromium.started(playwright, chromium.PROGRAMS, f"--host-resolver-rules=MAP {EVIL} 127.0.0.1") as browser:
        yield browser


@pytest.fixture
def page(deceived: Browser) -> Iterator[Page]:
    page = deceived.new_page()
    page.set_default_timeout(PATIENCE)
    yield page
    page.close()


def test_a_page_whose_name_leads_here_now_cannot_write(page: Page, service: Ports) -> None:
    refusal = page.goto(service.url.replace("127.0.0.1", EVIL))  # in its place a page of that origin, too

    assert refusal is not None
    assert refusal.status == 421
    assert page.evaluate(SCRIPT) == [421, 421]


def test_a_form_of_another_site_is_not_answered(page: Page, service: Ports, backend: KnownBackend) -> None:
    form = f"""<form method="post" enctype="multipart/form-data" action="{service.url}/v1/segment">
        <input name="classes" value="sky"><input type="submit"></form>"""
    page.route("http://other.example/", lambda route: route.fulfill(body=form, content_type="text/html"))
    page.goto("http://other.example/")

    def is_answer(response: Response) -> bool:
        return response.url.startswith(service.url)

    with page.expect_response(is_answer) as answer:
        page.locator("input[type=submit]").click()

    assert (answer.value.status, backend.asked) == (403, [])
