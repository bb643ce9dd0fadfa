"""The files of a site: the page with the engine of the browser, the model, and the service worker that keeps them."""

from __future__ import annotations

import base64
import hashlib
import html
import io
import re
import shutil
import tarfile
from contextlib import suppress
from importlib.resources import files
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import urlsplit

import httpx
import typer

from lexiseg_labels.exports import write_whole
from lexiseg_model.catalogue import models as catalogue
from lexiseg_model.errors import ExportError, OptionError
from lexiseg_model.export.manifest import default_cache_dir
from lexiseg_model.methods.tiny import browser
from lexiseg_service.gateway.rest.pages import PALETTE
from lexiseg_service.gateway.vocabularies.named import BUILT_IN_NAMES, built_in
from lexiseg_service.image.samples import SAMPLES, NoSample, photograph
from lexiseg_service.in_process import load_exact
from lexiseg_service.settings import Settings

MAX_PIXELS = 24_000_000  # of a picture; larger ones are made smaller, as browsers run out of memory
MAX_BYTES = 200_000_000
ENGINE = re.compile(r'(?<=import \* as engine from ")(\.\.?/engine)/server\.js(?=")')
LATER = {"model/tower.onnx", "model/tokens.json", "model/reading.onnx"}  # loaded when a word needs them
# The page connects to its own origin only, and to a server that is named.
POLICY = (
    "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; worker-src 'self'; style-src 'self'; "
    "img-src 'self' data: blob:; media-src blob:; connect-src 'self'{server}; manifest-src 'self'; "
    "base-uri 'none'; form-action 'none'"
)
LATIN_WORD = re.compile(r"[a-z]{2,}")
HOST = re.compile(r"([\w.-]+|\[[0-9a-fA-F:]+\])(:\d+)?", re.ASCII)
ENGINE_VERSION = "1.30.0"
ENGINE_SHA512 = "q0y+JrrtukXSzsBWEMccVfqX25LRmosXHF+CaRJmg8pZClzcV7svNc4rKY3jL02Vb7QmRMDs1SigqR4CXAfKYQ=="
ENGINE_URL = f"https://registry.npmjs.org/onnxruntime-web/-/onnxruntime-web-{ENGINE_VERSION}.tgz"
ENGINE_FILES = ("ort.wasm.min.mjs", "ort-wasm-simd-threaded.mjs", "ort-wasm-simd-threaded.wasm")
FETCH_SECONDS = 300.0


def write_site(settings: Settings, out: Path, n_words: int, server: str | None = None) -> None:
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise OptionError(f"{out} is not an empty folder")
    policy(server)
    folder_of_model = catalogue.find(settings.model, settings.models_dir)
    model = browser.require_tiny(load_exact(settings))
    engine = fetched_engine()
    words = common_words(model.familiar.words if model.familiar else (), n_words)
    out.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=out, prefix=".unfinished.") as draft:
        site = Path(draft)
        copy_page(site, server)
        (site / "model").mkdir()
        browser.write_browser_files(model, folder_of_model.folder, site / "model", words, settings.text_tower)
        for name in ENGINE_FILES:
            shutil.copyfile(engine / name, site / "model" / name)
        first = keep_offline(site)
        for path in site.iterdir():
            path.rename(out / path.name)
    typer.echo(f"{out}: {first / 1e6:.1f} MB at the first visit, {len(words):,} words without the text tower")
    typer.echo(f"try it with: python -m http.server --directory {out}")


def common_words(familiar: tuple[str, ...], n_words: int) -> list[str]:
    """Words of training, class names of data sets, and common English words, up to a number; lower case, each once."""
    named = [
        text
        for name in BUILT_IN_NAMES
        if (listed := built_in(name))
        for one in listed.vocabulary.classes
        for text in one.texts
    ]
    words = [*familiar, *named]
    try:
        from wordfreq import top_n_list
    except ImportError:
        typer.echo('wordfreq is not installed: only class names are included (pip install "lexiseg[site]")', err=True)
    else:
        words += filter(LATIN_WORD.fullmatch, top_n_list("en", 2 * n_words))
    return list(dict.fromkeys(word.lower() for word in words))[:n_words]


def policy(server: str | None) -> str:
    """The page's Content-Security-Policy, which permits requests to the site itself and to that server."""
    if server is None:
        return POLICY.format(server="")
    parts = urlsplit(server)
    if parts.scheme not in ("http", "https") or not HOST.fullmatch(parts.netloc) or parts.query or parts.fragment:
        raise OptionError(f"{server} is no address of a server, as https://lexiseg.example.org")
    return POLICY.format(server=f" {parts.scheme}://{parts.netloc}")


def copy_page(out: Path, server: str | None = None) -> None:
    """Write the page without the model, for visitors who may send a question to that server, too."""
    web = Path(str(files("lexiseg_service"))) / "web"
    shutil.copytree(web / "playground", out / "playground")
    shutil.copyfile(web / "manifest.json", out / "manifest.json")
    for name in SAMPLES:
        with suppress(NoSample):  # its package is not installed, and the page hides the example
            (out / "playground" / name).write_bytes(photograph(name))
    for script in (out / "playground").rglob("*.js"):
        script.write_text(ENGINE.sub(r"\1/browser.js", script.read_text()))
    (out / "playground/engine/offline.js").rename(out / "offline.js")
    page = (out / "playground/index.html").read_text(encoding="utf-8")
    (out / "playground/index.html").unlink()
    named = f' data-server="{html.escape(server)}"' if server else ""
    head = (
        f'<meta http-equiv="Content-Security-Policy" content="{policy(server)}">\n'
        '    <link rel="manifest" href="manifest.json">\n    '
    )
    changes = {
        '<link rel="icon"': f'{head}<link rel="icon"',
        "<body ": f'<body class="local"{named} ',
        "playground/engine/server.js": "playground/engine/browser.js",
        "{max_bytes}": str(MAX_BYTES),
        "{max_pixels}": str(MAX_PIXELS),
        "{palette}": PALETTE,
        "{formats}": "{}",  # of a server's
        "Send an image and words, get masks.": "Words and clicks to masks, in this browser: pictures stay here.",
    }
    for old, new in changes.items():
        if old not in page:
            raise ExportError(f"the page has no {old}, which the site changes")
        page = page.replace(old, new)
    (out / "index.html").write_text(page, encoding="utf-8")


def keep_offline(out: Path) -> int:
    """Write the list of files that the service worker keeps; returns their bytes in all."""
    digest = hashlib.sha256()
    first = {path.relative_to(out).as_posix(): path for path in sorted(out.rglob("*")) if path.is_file()}
    for name, path in first.items():
        digest.update(name.encode() + path.read_bytes())
    names = [name for name in first if name not in LATER and name != "offline.js"]
    total = sum(first[name].stat().st_size for name in ["index.html", *names])  # that page is kept by two names
    values = {"{version}": digest.hexdigest()[:16], "{files}": " ".join(["./", *names]), "{bytes}": str(total)}
    script = out / "offline.js"
    text = script.read_text()
    for name, value in values.items():
        text = text.replace(name, value)
    script.write_text(text)
    return sum(first[name].stat().st_size for name in names)


def fetched_engine() -> Path:
    """A folder with onnxruntime-web, fetched from the npm registry once, checked, and kept in the user's cache."""
    folder = default_cache_dir() / f"onnxruntime-web-{ENGINE_VERSION}"
    if all((folder / name).is_file() for name in ENGINE_FILES):
        return folder
    try:
        package = httpx.get(ENGINE_URL, timeout=FETCH_SECONDS, follow_redirects=True).raise_for_status().content
    except httpx.HTTPError as error:
        raise ExportError(f"{ENGINE_URL} cannot be fetched: {error}") from None
    digest = base64.b64encode(hashlib.sha512(package).digest()).decode()
    if digest != ENGINE_SHA512:
        raise ExportError(f"{ENGINE_URL} has sha512 {digest} instead of {ENGINE_SHA512}")
    with tarfile.open(fileobj=io.BytesIO(package)) as archive:
        for name in ENGINE_FILES:
            file = archive.extractfile(f"package/dist/{name}")
            assert file is not None
            write_whole(folder / name, file.read())
    return folder
