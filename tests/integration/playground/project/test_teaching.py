"""What reviewed pictures show is learned, and found in the others."""

import base64
import json
import re
from pathlib import Path

import httpx
from PIL import ImageOps
from playwright.sync_api import Browser, BrowserContext, FilePayload, Page, Request

from tests import pictures
from tests.integration.playground.asking import (
    add,
    drag,
    expect_result,
    place,
    unpacked,
    until_resolved,
    without_heads,
)
from tests.integration.playground.conftest import PATIENCE, opened, reload
from tests.integration.playground.expect import expect
from tests.integration.playground.project.test_project import ANSWERED, add_files, strip
from tests.integration.server import Server

CUP = pictures.photograph("coffee")
ALBUM = {name: pictures.encoded(picture, "JPEG") for name, picture in (
    ("one", CUP),
    ("two", ImageOps.mirror(CUP)),
    ("three", CUP.crop((60, 0, 600, 400))),
)}  # fmt: skip
BOX = (150, 20, 450, 330)  # around the cup of the first
WORD = "gizmo"  # the model knows none


# Whether the browser has noted that a picture taught.
KEPT = """async () => {
    const { load } = await import("/playground/project/store.js");
    return (await load()).some(({ taught }) => taught);
}"""


def is_teaching(request: Request) -> bool:
    return request.method == "PUT" and "/v1/heads/" in request.url


def begin(page: Page) -> None:
    """Three pictures of a cup, of which the first is labelled with a word that finds none."""
    add_files(page, **ALBUM)
    add(page, WORD)
    expect_result(page, re.compile(WORD))
    page.get_by_role("button", name="Label all").click()
    expect(page.locator("#strip .new")).to_have_count(0)
    show(page, "one")
    frame(page)


def frame(page: Page) -> None:
    """Draw a box around the cup of the first picture, and name it."""
    drag(page, BOX[:2], BOX[2:])
    expect(page.locator("#correcting")).to_be_visible()
    page.fill("#label", WORD)
    page.press("#label", "Enter")
    expect(page.locator("#corrected")).to_have_text(WORD)


def show(page: Page, name: str) -> None:
    strip(page).nth([*ALBUM].index(name)).click()
    expect(page.locator("#strip [aria-current=true]")).to_have_attribute("title", re.compile(f"^{name}.jpg"))


def accept(page: Page) -> None:
    page.get_by_role("button", name="Accept", exact=True).click()


def learned(page: Page, pictures: int) -> None:
    expect(page.locator("#learned")).to_contain_text(f"Learned from {pictures} reviewed. How well found outlines match")


def teach(page: Page) -> None:
    """The first picture teaches."""
    begin(page)
    accept(page)
    learned(page, 1)


# Whether all pictures that nobody has reviewed are answered with what was learned last.
OF_LAST_HEAD = """async () => {
    const files = ["project/project", "page"].map((name) => new URL(`playground/${name}.js`, document.baseURI).href);
    const [{ all }, { state }] = await Promise.all(files.map((file) => import(file)));
    const open = all().filter(({ doc }) => !doc.isReviewed);
    return open.every(({ doc }) => JSON.parse(doc.asked).head?.endsWith(`@${state.head.version}`));
}"""
COIN, BETWEEN = (135, 336), (45, 225)  # pixels of the lesson's last picture


def teach_coins(page: Page) -> None:
    """The first lesson: six parts of a photograph; its word finds no coin before, and all after two were accepted."""
    page.get_by_role("button", name="Teach: accept two, watch four change").dblclick()
    expect(page.locator("#note")).to_contain_text("press Accept (A)")
    expect(page.locator("#strip :is(.labelled, .empty)")).to_have_count(6)
    expect(page.locator("#result")).to_have_text("Found ancient coin.")
    for number in (1, 2):
        accept(page)
        learned(page, number)
        title = re.compile(f"coins-{number + 1}.jpg: labelled")
        expect(page.locator("#strip [aria-current=true]")).to_have_attribute("title", title)
    expect(page.locator("#note")).to_contain_text("Nobody outlined these")
    until_resolved(page, OF_LAST_HEAD)
    expect(page.locator("#strip .changed")).to_have_count(3)  # the pictures that nobody has looked at yet
    strip(page).last.click()
    for pixel, name in ((COIN, "ancient coin 1.00"), (BETWEEN, "")):
        page.mouse.move(*place(page, *pixel, (453, 384)))
        expect(page.locator("#hover")).to_have_text(name)
    page.keyboard.down("v")
    expect(page.locator("#segments")).not_to_contain_text("1.00")
    page.keyboard.up("v")
    expect(page.locator("#segments")).to_contain_text("1.00")


def test_the_first_lesson_changes_four_pictures_after_two(page: Page) -> None:
    teach_coins(page)


def test_there_is_no_lesson_where_nothing_can_be_taught(context: BrowserContext, server: Server) -> None:
    without_heads(context)

    page = opened(context, server.url)

    expect(page.locator("#sample")).to_be_visible()
    expect(page.locator("#lesson")).to_be_hidden()


def pictures_of(request: Request) -> list[str]:
    return [one["key"] for one in json.loads(request.post_data or "")["pictures"]]


def test_what_is_accepted_is_found_in_the_others_and_those_that_help_most_come_first(page: Page) -> None:
    begin(page)
    page.fill("#label", WORD.title())  # in other letters it is the same class
    page.press("#label", "Enter")
    expect(page.locator("#corrected")).to_have_text(WORD.title())
    page.locator("#kept").scroll_into_view_if_needed()

    accept(page)

    learned(page, 1)
    expect(page.locator("#learned")).to_be_in_viewport()
    expect(page.locator("#result")).not_to_be_in_viewport()
    expect(page.locator("#learned")).to_contain_text(f"before → now: {WORD} known from a picture unlike these on.")
    expect_result(page, f"Found {WORD}.")  # in the next picture
    assert page.locator("#strip [aria-current=true]").get_attribute("title") == "two.jpg: labelled"
    expect(page.locator("#strip .labelled")).to_have_count(2)
    expect(page.locator("#strip .changed")).to_have_attribute("title", "three.jpg: labelled, changed")
    show(page, "three")
    expect(page.locator("#strip .changed")).to_have_count(0)
    expect(page.locator("#segments li")).to_contain_text(WORD)
    page.keyboard.down("v")
    expect(page.locator("#segments li")).to_have_count(0)
    expect(page.locator("#result")).to_have_text("As it was before what was learned or asked last.")
    page.keyboard.up("v")
    expect(page.locator("#segments li")).to_contain_text(WORD)
    until_resolved(page, ANSWERED)

    with page.expect_response(re.compile("/v1/heads/.*/next")) as answered:
        page.check("#doubtful")

    keys, request = answered.value.json()["keys"], json.loads(answered.value.request.post_data or "")
    names = dict(zip((one["id"] for one in request["images"]), ("two.jpg", "three.jpg"), strict=True))
    for number, name in enumerate([*(names[key] for key in keys), "one.jpg"]):
        expect(strip(page).nth(number)).to_have_attribute("title", re.compile(f"^{name}"))
    expect(page.locator("#strip [aria-current=true]")).to_have_attribute("title", re.compile(f"^{names[keys[0]]}"))


# Accepts a picture, and wants to reject the next before it is decoded.
TOO_SOON = """() => {
    for (const key of "ax") document.body.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true }));
}"""


def test_a_rejected_picture_teaches_that_it_shows_nothing(page: Page) -> None:
    begin(page)
    page.evaluate(TOO_SOON)
    learned(page, 1)
    expect_result(page, f"Found {WORD}.")  # in the second

    with page.expect_request(is_teaching) as request:
        page.get_by_role("button", name="Reject").click()

    (sent,) = json.loads(request.value.post_data or "")["pictures"]
    assert (sent["objects"], sent["reviewed"]) == ([], [WORD])
    learned(page, 2)
    show(page, "two")
    expect(page.locator("#strip .reviewed[aria-current=true]")).to_have_attribute("title", "two.jpg: reviewed")
    expect(page.locator("#segments li")).to_have_count(0)
    page.keyboard.press("Control+z")
    expect(page.locator("#segments li")).to_contain_text(WORD)
    expect(page.locator("#strip .reviewed")).to_have_count(1)


def test_pictures_that_show_nothing_teach_nothing_before_one_shows_an_object(page: Page, server: Server) -> None:
    begin(page)
    show(page, "two")
    sent: list[Request] = []
    page.on("request", lambda request: sent.append(request) if is_teaching(request) else None)

    page.get_by_role("button", name="Reject").click()

    told = "Nothing is learned before a reviewed picture shows one of the words."
    expect(page.locator("#learned")).to_have_text(told)
    show(page, "one")
    accept(page)
    learned(page, 2)
    assert len(sent) == 1
    address = own_head(page, server)
    show(page, "one")
    page.get_by_role("button", name="Unaccept").click()
    expect(page.locator("#learned")).to_have_text(told)
    assert httpx.get(address).status_code == 404


def test_pictures_teach_once_there_are_words_and_the_browser_reads_them(page: Page) -> None:
    add_files(page, **ALBUM)
    accept(page)
    expect(page.locator("#strip [aria-current=true]")).to_have_attribute("title", "two.jpg: new")
    frame(page)
    page.evaluate("""async () => {
        (await import("/playground/page.js")).state.picture.file = null;
        const { get } = IDBObjectStore.prototype;
        window.recover = () => void (IDBObjectStore.prototype.get = get);
        IDBObjectStore.prototype.get = () => {
            throw new DOMException("The request has not finished.", "InvalidStateError");
        };
    }""")

    accept(page)

    told = "Nothing new was learned. The storage of this browser does not answer: reload the page."
    expect(page.locator("#learned")).to_have_text(told)
    page.evaluate("window.recover()")
    asked = re.compile("^three.jpg: (empty|labelled)")  # before it is asked about, it would teach nothing
    expect(page.locator("#strip [aria-current=true]")).to_have_attribute("title", asked)
    accept(page)
    learned(page, 2)


def test_a_correction_of_a_reviewed_picture_replaces_what_it_taught(page: Page) -> None:
    begin(page)
    with page.expect_request(is_teaching) as first:
        accept(page)
    learned(page, 1)
    expect_result(page, f"Found {WORD}.")
    show(page, "one")
    page.get_by_role("button", name=f"Correct {WORD}").click()
    page.fill("#label", "doodad")
    page.press("#label", "Enter")
    expect(page.locator("#learned")).to_contain_text("doodad known from a picture unlike these on")
    expect(page.locator("#chips")).to_contain_text("doodad")
    show(page, "two")
    expect_result(page, "Found doodad.")
    accept(page)
    learned(page, 2)
    show(page, "one")
    page.get_by_role("button", name="Correct doodad").click()
    page.check("[name=sign][value=eraser]")

    with page.expect_request(is_teaching) as last:
        page.mouse.click(*place(page, 300, 150))

    assert pictures_of(last.value) == pictures_of(first.value)
    learned(page, 2)


def test_a_word_that_no_picture_shows_goes_along_under_a_name_and_in_a_file(
    page: Page, browser: Browser, server: Server, tmp_path: Path
) -> None:
    begin(page)
    add(page, "submarine")  # which no picture shows
    expect_result(page, re.compile("Not found: .*submarine"))
    accept(page)
    learned(page, 1)
    assert httpx.get(own_head(page, server)).json()["expires"]
    page.get_by_role("button", name="without submarine").click()
    add(page, "submarine|cup")
    expect_result(page, re.compile(r"Found [^.]*submarine"))
    page.locator("#chips button").last.click()
    until_resolved(page, ANSWERED)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.method) if "/v1/heads/" in request.url else None)

    with page.expect_response(lambda answer: is_teaching(answer.request)) as named:
        page.fill("#head-name", "our-gizmos")
        page.press("#head-name", "Enter")

    assert named.value.status == 200
    learned(page, 1)
    assert asked == ["DELETE", "GET", "PUT"]
    kept = {one["name"]: one["expires"] for one in httpx.get(f"{server.url}/v1/heads").json()["heads"]}
    assert kept["our-gizmos"] is None
    (tmp_path / "our-gizmos.head").write_bytes(unpacked(page, "#export-project")["our-gizmos.head"])
    httpx.delete(f"{server.url}/v1/heads/our-gizmos").raise_for_status()
    context = browser.new_context()
    other = opened(context, server.url)
    add_files(other, two=ALBUM["two"])
    other.set_input_files("#files", tmp_path / "our-gizmos.head")
    expect(other.locator("#chips li")).to_contain_text([WORD, "submarine"])
    expect_result(other, f"Found {WORD}.")
    context.close()
    httpx.delete(f"{server.url}/v1/heads/our-gizmos").raise_for_status()


TOLD = """() => {
    window.told = [];
    const result = document.getElementById("result");
    new MutationObserver(() => told.push(result.textContent)).observe(result, { childList: true, subtree: true });
}"""


def test_a_file_that_is_no_head_or_names_none_is_told_and_what_was_learned_stays(page: Page, server: Server) -> None:
    teach(page)
    address = own_head(page, server)
    kept = httpx.get(f"{address}?export=1").content
    page.evaluate(TOLD)  # an answer with what was learned is told in the same place, before or after
    files = {
        "theirs": (b"rubbish", "expected a head"),
        f"{address.rpartition('/')[2]}#2": (kept, "expected 1 to 64 of"),
    }

    for name, (content, reason) in files.items():
        page.set_input_files("#files", FilePayload(name=f"{name}.head", mimeType="", buffer=content))
        until_resolved(page, f"() => told.some((text) => text.includes('{reason}'))")

    expect(page.locator("#head-name")).to_have_value("")
    assert httpx.get(address).status_code == 200


def test_a_project_is_exported_where_the_service_has_gone(page: Page, context: BrowserContext) -> None:
    teach(page)
    page.wait_for_load_state("networkidle")
    context.set_offline(True)

    files = unpacked(page, "#export-project")

    assert files["reviewed.txt"] == b"one.jpg\n"
    assert files["head-missing.txt"] == b"The server does not answer. Is it running?"
    assert not [name for name in files if name.endswith(".head")]


def test_what_others_do_to_a_head_counts_and_pictures_are_taken_out(page: Page, server: Server) -> None:
    teach(page)
    until_resolved(page, ANSWERED)
    other = {"key": "elsewhere", "image": {"base64": base64.b64encode(ALBUM["two"]).decode()}}
    body = {"classes": ["elsewhere"], "pictures": [{**other, "objects": [{"class": WORD, "box": BOX}]}]}
    httpx.put(own_head(page, server), json=body, timeout=PATIENCE).raise_for_status()
    add(page, "cup")
    expect_result(page, re.compile("Found .*cup"))
    reload(page)
    expect(page.locator("#lessons li")).to_contain_text(["one.jpg", "elsewhere"])
    page.get_by_role("button", name="elsewhere teaches no more").click()
    expect(page.locator("#lessons li")).to_contain_text(["one.jpg"])
    until_resolved(page, ANSWERED)

    with page.expect_request(is_teaching):
        httpx.delete(own_head(page, server)).raise_for_status()
        add(page, "saucer")

    learned(page, 1)
    expect_result(page, re.compile("ound.*saucer"))
    page.get_by_role("button", name="one.jpg teaches no more").click()
    expect(page.locator("#lessons li")).to_have_count(0)
    expect(page.locator("#strip .reviewed")).to_have_count(0)


def test_a_reload_teaches_nothing_twice_and_what_was_accepted_is_taken_back(page: Page) -> None:
    teach(page)
    until_resolved(page, KEPT)
    asked: list[Request] = []
    page.on("request", lambda request: asked.append(request) if is_teaching(request) else None)
    reload(page)
    learned(page, 1)
    expect(page.locator('#taught option[value^="page-"]')).to_have_count(0)  # a page's own name is offered to no other
    expect_result(page, f"Found {WORD}.")  # by what the first picture taught
    with page.expect_request(is_teaching) as second:
        accept(page)
    assert asked == [second.value]
    assert len(pictures_of(second.value)) == 1
    learned(page, 2)
    show(page, "one")

    page.get_by_role("button", name="Unaccept").click()

    learned(page, 1)
    expect(page.locator("#segments li").first).to_contain_text(WORD)  # what was labelled stays
    until_resolved(page, ANSWERED)
    reload(page)
    expect(page.locator("#strip [aria-current=true]")).to_have_attribute("title", "one.jpg: labelled")
    expect(page.locator("#accepted")).to_be_hidden()
    learned(page, 1)


def test_what_is_no_longer_reviewed_teaches_nothing(page: Page) -> None:
    begin(page)
    show(page, "two")
    before = page.locator("#segments").inner_text()
    show(page, "one")
    accept(page)
    learned(page, 1)
    expect_result(page, f"Found {WORD}.")
    show(page, "one")

    page.get_by_role("button", name="Undo").click()

    expect(page.locator("#learned")).to_be_empty()
    show(page, "two")
    expect(page.locator("#segments")).to_have_text(before, use_inner_text=True)


def own_head(page: Page, server: Server) -> str:
    """The address of the head that the page has taught."""
    name = page.evaluate("""async () => (await import("/playground/page.js")).state.head.name""")
    return f"{server.url}/v1/heads/{name}"


def test_two_tabs_of_a_project_teach_one_head(page: Page, context: BrowserContext, server: Server) -> None:
    begin(page)
    other = opened(context, server.url)
    accept(page)
    learned(page, 1)

    for number, name in ((2, "two"), (3, "three")):
        show(other, name)
        accept(other)
        learned(other, number)
        until_resolved(other, OF_LAST_HEAD)

    until_resolved(page, ANSWERED)
    show(page, "one")
    page.get_by_role("button", name="Undo").click()
    learned(page, 2)
