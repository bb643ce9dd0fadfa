"""Architecture rules: directions of imports, sizes of folders and packages, what no file may name."""

import ast
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import lexiseg_model
from lexiseg_service.commands.joined import OWN
from tests.command import ended

ROOT = Path(__file__).resolve().parents[1]

FOREIGN_TO_LABELS = {"lexiseg_client", "lexiseg_model", "lexiseg_service", "lexiseg_train"}
FOREIGN_TO_LEARNING = {"lexiseg_service", "lexiseg_client", "fastapi", "starlette", "grpc", "redis", "uvicorn"}
FOREIGN_TO_MODEL = FOREIGN_TO_LEARNING | {"lexiseg_train"}
READER = ("bands", "colours", "conversion", "decoding", "header", "reader", "structure", "tiff")
PICTURES = ("pictures", *(f"pictures.{name}" for name in READER))
WORDS = (
    *("cards", "catalogue.available", "catalogue.store", "errors", "model_name"),
    *("resources.lru", "runtimes", "types"),
)
FILES = ("files", "files.archives", "files.atomic", "files.names", "files.sandbox")
LISTS = (
    *("vocabulary.class_lists", "vocabulary.class_names"),
    *("vocabulary.heads", "vocabulary.solving", "kernel.library", "kernel.teach"),
)
COMMAND_LINE = tuple(f"command_line.{name}" for name in ("bar", "options", "signals"))
SHARED_WORDS = {f"lexiseg_model.{name}" for name in (*WORDS, *FILES, *LISTS, *COMMAND_LINE, *PICTURES)}
MODEL, SERVICE, CLIENT = "model/lexiseg_model", "service/lexiseg_service", "clients/python/lexiseg_client"
LABELS, TRAIN, FALCON = "labels/lexiseg_labels", "model/lexiseg_train", "model/lexiseg_falcon"
PACKAGES = (LABELS, MODEL, TRAIN, FALCON, SERVICE, CLIENT)
TOOLS_OF_MODULES = {"cvat": {"cvat_sdk", "urllib3"}, "cvat_clicks": {"cvat_sdk"}, "osam": {"labelme", "osam"}}
CLIENTS_LIBRARIES = {"google", "grpc", "httpx", "lexiseg_client", "lexiseg_labels", "numpy", "typing_extensions"}
MAX_LINES_OF_FUNCTION = 60  # its docstring included
MAX_FILES = 20  # source files of one folder, conftest apart
SOURCES = {".py", ".c", ".h", ".js"}
GENERATED = re.compile(r"_pb2(_grpc)?\.pyi?$")
ROOMS = 2  # names below a package that make a room, as in lexiseg_service.gateway
OWN_SUFFIXES = {".py", ".md", ".yaml", ".toml"}
IMPORT_OF_SCRIPT = re.compile(r'\b(?:from|import)\s*\(?\s*"(\.[^"]+)"')  # static, or when it is first needed
NAMED_MODULE = re.compile(r"`([\w-]+/[\w/-]+\.(?:py|js|c|h))`")
MACHINE_FOLDERS = ("work", "root", "opt")
# A path that starts at such a folder; `models/work/` and web addresses start elsewhere.
MACHINE_PATH = re.compile(rf"(?<![\w.\-/])/(?:{'|'.join(MACHINE_FOLDERS)})/")

MAX_PAGE_LINES = 4_300  # JavaScript of the page and both engines


def modules(package: str) -> list[Path]:
    return sorted((ROOT / package).rglob("*.py"))


def statements(tree: ast.AST, for_types: bool = True) -> Iterator[ast.AST]:
    """All statements of a tree, those in functions and branches included: a tenth of the nodes of `ast.walk`."""
    for part in ("body", "orelse", "finalbody", "handlers", "cases"):
        for statement in getattr(tree, part, ()):
            if for_types or not (isinstance(statement, ast.If) and ast.unparse(statement.test) == "TYPE_CHECKING"):
                yield statement
                yield from statements(statement, for_types)


def statements_of(path: Path, for_types: bool = True) -> Iterator[ast.AST]:
    return statements(ast.parse(path.read_text(encoding="utf-8"), str(path)), for_types)


@cache
def imported_names(path: Path, for_types: bool = True) -> list[str]:
    """Dotted names that a module imports anywhere in it, functions included; relative ones made absolute.

    `from lexiseg_model import types` gives `lexiseg_model.types`, `from lexiseg_model.types import Segment` its name.
    `for_types`: also below `if TYPE_CHECKING:`, which never runs.
    """
    root = next(ROOT / folder for folder in PACKAGES if path.is_relative_to(ROOT / folder))
    package = path.relative_to(root.parent).parent.parts
    names: list[str] = []
    for node in statements_of(path, for_types):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) + 1 - node.level] if node.level else ()
            origin = ".".join((*base, *filter(None, [node.module])))
            names += [f"{origin}.{alias.name}" for alias in node.names]
    return names


def imported_by(path: Path) -> set[str]:
    """Modules that a file imports names from, or that it imports; relative ones left out."""
    nodes = list(statements_of(path))
    froms = {node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.module and not node.level}
    return froms | {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}


@cache
def imports(*roots: str, for_types: bool = True) -> dict[str, set[str]]:
    """Dotted name of every module of some packages, all but the client by default, to what it imports of them."""
    roots = roots or (LABELS, MODEL, TRAIN, SERVICE)
    known = {Path(folder).name for folder in roots}
    found = {}
    for folder in roots:
        root = ROOT / Path(folder).parent
        for path in modules(folder):
            name = ".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__")
            found[name] = {other for other in imported_names(path, for_types) if is_within(other, known)}
    return found


def room_of(name: str) -> str:
    """The room that a module or a name in it is in: its package, at most ROOMS names below the root."""
    while name not in imports() and "." in name:
        name = name.rpartition(".")[0]
    return ".".join(name.split(".")[: ROOMS + 1])


def is_within(name: str, roots: set[str]) -> bool:
    return any(name == root or name.startswith(f"{root}.") for root in roots)


def offences(paths: list[Path], is_wrong: Callable[[Path, str], bool]) -> list[str]:
    """What modules import although they must not; there are some modules."""
    assert paths
    named = ((path, name) for path in paths for name in imported_names(path))
    return [f"{path.relative_to(ROOT)} imports {name}" for path, name in named if is_wrong(path, name)]


def own_files() -> Iterator[Path]:
    """The project's files: what git would track, or everything outside hidden folders without git."""
    if (ROOT / ".git").exists() and (git := shutil.which("git")):
        command = [git, "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
        listing = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
        paths = [ROOT / name for name in listing.split("\0") if name]
    else:
        paths = [p for p in ROOT.rglob("*") if not any(part.startswith(".") for part in p.relative_to(ROOT).parts)]
    # A file deleted but not yet committed is still listed.
    yield from (path for path in paths if path.is_file())


FOREIGN = {
    LABELS: FOREIGN_TO_LABELS,
    MODEL: FOREIGN_TO_MODEL | {"lexiseg_falcon"},
    TRAIN: FOREIGN_TO_LEARNING | {"lexiseg_falcon"},
    FALCON: FOREIGN_TO_MODEL,
    SERVICE: {"lexiseg_falcon", "lexiseg_train"},
    CLIENT: {"lexiseg_model", "lexiseg_service", "lexiseg_train"},
}
COMMANDS_OF_TRAINING = ROOT / TRAIN / "commands"


@pytest.mark.parametrize("package", FOREIGN)
def test_packages_import_each_other_in_one_direction(package: str) -> None:
    def is_wrong(path: Path, name: str) -> bool:
        # Answers of servers, which the program asks for the commands.
        may = path.is_relative_to(COMMANDS_OF_TRAINING) and is_within(name, {"lexiseg_client"})
        return is_within(name, FOREIGN[package]) and not may

    assert offences(modules(package), is_wrong) == []


def test_the_package_of_falcon_imports_what_is_promised() -> None:
    def is_wrong(path: Path, name: str) -> bool:
        return is_within(name, {"lexiseg_model"}) and name.removeprefix("lexiseg_model.") not in lexiseg_model.__all__

    assert offences(modules(FALCON), is_wrong) == []


def test_only_the_worker_and_the_command_line_reach_into_the_model() -> None:
    rooms = (
        "batch/bulk.py",
        "batch/export.py",
        "batch/sources/listing.py",
        "commands/",
        "worker/",
        "cli.py",
        "in_process.py",
    )
    may = tuple(f"{SERVICE}/{room}" for room in rooms)
    outside = [p for p in modules(SERVICE) if not p.relative_to(ROOT).as_posix().startswith(may)]

    def is_wrong(path: Path, name: str) -> bool:
        return is_within(name, {"torch"}) or (is_within(name, {"lexiseg_model"}) and not is_within(name, SHARED_WORDS))

    assert offences(outside, is_wrong) == []


def test_only_the_command_line_asks_servers_through_the_client() -> None:
    clients = [ROOT / SERVICE / "commands", ROOT / SERVICE / "batch"]
    shared = {"lexiseg_client.stubs", "lexiseg_client.rpc.fields", "lexiseg_client.rpc.details"}
    others = [path for path in modules(SERVICE) if not any(map(path.is_relative_to, clients))]

    assert offences(others, lambda _, name: is_within(name, {"lexiseg_client"}) and not is_within(name, shared)) == []


# What joins the core by entry points.
OPTIONAL_COMMANDS = ("bulk", "mcp", "segment_scene", "site", "video")
OPTIONAL = {"lexiseg_service.adapters", *(f"lexiseg_service.commands.{name}" for name in OPTIONAL_COMMANDS)}


def test_the_core_imports_no_optional_part() -> None:
    core = {name: found for name, found in imports().items() if not is_within(name, OPTIONAL)}

    assert all(any(is_within(name, {part}) for name in imports()) for part in OPTIONAL)
    assert {name: found for name, found in core.items() if any(is_within(other, OPTIONAL) for other in found)} == {}


# What must not be imported from where; a prefix of dotted names stands for everything below it.
CLOSED_DOORS = {
    "lexiseg_service.question": {"lexiseg_service.gateway", "lexiseg_service.wire", "lexiseg_service.worker"},
    "lexiseg_service.gateway.vocabularies": {"lexiseg_service.gateway.rest", "lexiseg_service.gateway.rpc"},
    "lexiseg_service.fleet": {"lexiseg_service.gateway", "lexiseg_service.worker", "lexiseg_service.commands"},
    "lexiseg_service.worker": {"lexiseg_service.gateway", "lexiseg_service.fleet"},
    "lexiseg_service.gateway.rest": {"lexiseg_service.gateway.rpc"},
    "lexiseg_service.gateway.rpc": {"lexiseg_service.gateway.rest"},
    "lexiseg_service.batch": {"lexiseg_service.adapters", "lexiseg_service.commands"},
    "lexiseg_service.adapters": {"lexiseg_service.worker", "lexiseg_service.commands"},
    "lexiseg_service.gateway": {
        "lexiseg_service.worker",
        "lexiseg_service.batch",
        "lexiseg_service.commands",
        "lexiseg_service.adapters",
    },
    "lexiseg_service.wire": {"lexiseg_service.gateway", "lexiseg_service.worker", "lexiseg_service.commands"},
    "lexiseg_train.training": {"lexiseg_model.methods", "lexiseg_train.methods", "lexiseg_train.commands"},
    "lexiseg_train.data": {"lexiseg_train.methods", "lexiseg_train.commands"},
    "lexiseg_train.evaluation": {"lexiseg_train.methods", "lexiseg_train.commands"},
    "lexiseg_train.methods": {"lexiseg_train.commands"},
    "lexiseg_model.masks": {"lexiseg_model.methods", "lexiseg_model.tasks"},
    **{
        f"lexiseg_model.{room}": {"lexiseg_model.methods"}
        for room in ("clip", "export", "tasks", "video", "vocabulary")
    },
}


@pytest.mark.parametrize("room", CLOSED_DOORS)
def test_a_room_keeps_its_doors_closed(room: str) -> None:
    inside = {name: found for name, found in imports().items() if is_within(name, {room})}

    closed = CLOSED_DOORS[room]

    assert inside
    assert {name: found for name, found in inside.items() if any(is_within(other, closed) for other in found)} == {}


def test_rooms_do_not_import_each_other_in_circles() -> None:
    doors: dict[str, set[str]] = {}
    for name, found in imports().items():
        doors.setdefault(room_of(name), set()).update(map(room_of, found))
    for room, others in doors.items():
        others.discard(room)

    with_circles = {room: others & set(doors) for room, others in doors.items()}

    TopologicalSorter(with_circles).prepare()  # raises CycleError, which names the circle


def source_files() -> Iterator[Path]:
    """Files of the project that a person writes and reads: without conftest, and without an `__init__` of no code."""
    for path in own_files():
        written = path.suffix in SOURCES and not GENERATED.search(path.name) and path.stem != "conftest"
        if written and (path.stem != "__init__" or has_code(path)):
            yield path.relative_to(ROOT)


def has_code(path: Path) -> bool:
    """Whether a module has more than a docstring."""
    return any(not isinstance(node, ast.Expr) for node in statements_of(path))


def test_no_folder_has_more_files_than_a_newcomer_reads() -> None:
    folders = Counter(path.parent.as_posix() for path in source_files())

    assert {folder: count for folder, count in folders.items() if count > MAX_FILES} == {}


def test_no_folder_of_the_packages_holds_one_module_alone() -> None:
    paths = [path for path in source_files() if path.as_posix().startswith(PACKAGES)]
    modules_of = Counter(path.parent for path in paths)
    with_folders = {path.parent.parent for path in paths}

    lone = [folder.as_posix() for folder, count in modules_of.items() if count == 1 and folder not in with_folders]

    assert lone == []


@pytest.mark.parametrize("roots", [(LABELS, MODEL, TRAIN, SERVICE), (CLIENT,)], ids=["packages", "client"])
def test_modules_do_not_import_each_other_in_circles(roots: tuple[str, ...]) -> None:
    known = set(imports(*roots))

    def module_of(name: str) -> str:
        return name if name in known else name.rpartition(".")[0]

    # A package's __init__ is read before its modules, so that importing it from below is no circle.
    # What is imported for types alone is never loaded.
    graph = {
        name: {module_of(other) for other in found} - {name} for name, found in imports(*roots, for_types=False).items()
    }
    packages = {name for name in known if any(other.startswith(f"{name}.") for other in known)}

    TopologicalSorter({name: others - packages for name, others in graph.items()}).prepare()


def test_scripts_of_the_page_do_not_import_each_other_in_circles() -> None:
    scripts = sorted((ROOT / SERVICE / "web").rglob("*.js"))
    graph = {
        path: {(path.parent / name).resolve() for name in IMPORT_OF_SCRIPT.findall(path.read_text(encoding="utf-8"))}
        for path in scripts
    }

    assert any(graph.values())
    TopologicalSorter(graph).prepare()  # raises CycleError, which names the circle


def test_functions_are_as_long_as_a_page() -> None:
    lines = [
        (f"{path.relative_to(ROOT).as_posix()}: {node.name}", (node.end_lineno or 0) - node.lineno + 1)
        for path in own_files()
        if path.suffix == ".py" and not GENERATED.search(path.name)
        for node in statements_of(path)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]

    assert lines
    assert [(name, count) for name, count in lines if count > MAX_LINES_OF_FUNCTION] == []


def test_ctypes_is_left_to_the_kernel_and_the_sandbox() -> None:
    paths = [path for root in PACKAGES for path in modules(root)]
    outside = [path for path in paths if path.parent.name != "kernel" and path.name != "sandbox.py"]

    assert offences(outside, lambda _, name: is_within(name, {"ctypes"})) == []


def test_the_page_stays_small() -> None:
    sources = [path for path in source_files() if path.is_relative_to(f"{SERVICE}/web") and path.suffix == ".js"]

    lines = sum(len((ROOT / path).read_text(encoding="utf-8").splitlines()) for path in sources)

    assert 0 < lines <= MAX_PAGE_LINES


LIBRARIES = {LABELS: {"lexiseg_labels", "numpy"}, CLIENT: CLIENTS_LIBRARIES}


@pytest.mark.parametrize("package", LIBRARIES)
def test_labels_and_the_client_stand_alone_on_few_libraries(package: str) -> None:
    # Optional: named in types, imported only in the function that makes its objects.
    optional = {
        ROOT / LABELS / "libraries.py": {"fiftyone", "pandas", "supervision"},
        ROOT / LABELS / "pictures.py": {"PIL"},
        **{ROOT / CLIENT / f"{stem}.py": tools for stem, tools in TOOLS_OF_MODULES.items()},
    }

    def is_wrong(path: Path, name: str) -> bool:
        may = sys.stdlib_module_names | LIBRARIES[package] | optional.get(path, set())
        return name.partition(".")[0] not in may

    assert offences(modules(package), is_wrong) == []


def loaded_by(*steps: str) -> list[list[str]]:
    """The modules that are there after each step of a program."""
    code = "import sys\n" + "".join(f"{step}\nprint('modules', *sys.modules)\n" for step in steps)
    answer = ended([sys.executable, "-c", code], cwd=ROOT)
    assert answer.returncode == 0, answer.stderr
    return [line.split() for line in answer.stdout.splitlines() if line.startswith("modules ")]


def test_the_command_line_and_the_gateway_load_without_the_rest_of_the_models_package() -> None:
    commands = {point.module for point in OWN.values()}
    together = ", ".join(commands | SHARED_WORDS)
    [loaded] = loaded_by(f"import lexiseg_service.cli, lexiseg_service.batch.http.routes, {together}")

    own = {name for name in loaded if name == "torch" or name.startswith("lexiseg_model.")}
    assert own - SHARED_WORDS - {name.rpartition(".")[0] for name in SHARED_WORDS} == set()


METHODS = {f"lexiseg_model.methods.{path.stem}" for path in (ROOT / MODEL / "methods").iterdir()}
ONE_IMAGE = (
    "import lexiseg_service.commands.serving.worker, lexiseg_service.commands.local, "
    "lexiseg_service.commands.segment.run"
)
SERVING = """import lexiseg_service.commands.serving.gateway, lexiseg_service.cli
from lexiseg_model.catalogue import models
models.cards(None)
lexiseg_service.cli.app(['--help'], standalone_mode=False)
"""
# What programs import, one after the other, and what must not come along: few questions need it, or an extra brings it.
LOADS = [
    {
        "import lexiseg_service.cli": {
            "PIL", "fastapi", "lexiseg_client", "lexiseg_labels.formats", "numpy", "rich", "yaml",
        },
    },
    {
        "import lexiseg_client": {
            "PIL", "cv2", "google", "grpc", "lexiseg_model", "lexiseg_service", "supervision", "torch",
        },
        ONE_IMAGE: {"fastapi", "matplotlib", "open_clip", "pandas", "scipy", "skimage", "timm", "torchvision"},
        SERVING: OPTIONAL
        | {"av", "lexiseg_train", "mcp", "pyarrow", "rasterio", "ray", "sklearn"}
        | METHODS - {"lexiseg_model.methods.tiny", "lexiseg_model.methods.__init__"},
    },
]  # fmt: skip


@pytest.mark.parametrize("steps", LOADS, ids=["the command line", "the client, an image, serving"])
def test_what_is_not_needed_is_not_loaded(steps: dict[str, set[str]]) -> None:
    loaded = dict(zip(steps, loaded_by(*steps), strict=True))

    assert [(step, name) for step, absent in steps.items() for name in loaded[step] if is_within(name, absent)] == []


def test_models_that_tests_share_are_let_go_of_with_their_folder() -> None:
    """By `tests.once.kept`: `functools.cache`, for small values, keeps them until the process ends."""
    small = {"Path", "TemporaryDirectory[str]"}

    offences = [
        f"{path.relative_to(ROOT)}: {function.name} -> {ast.unparse(function.returns)}"
        for path in modules("tests/model") + modules("tests/train") + modules("tests/golden")
        for function in statements_of(path)
        if isinstance(function, ast.FunctionDef) and function.returns is not None
        if {ast.unparse(each) for each in function.decorator_list} & {"cache", "functools.cache"}
        if ast.unparse(function.returns) not in small
    ]

    assert offences == []


def test_modules_that_comments_name_exist() -> None:
    files = [f"/{path.relative_to(ROOT).as_posix()}" for path in own_files()]
    sources = [path for path in own_files() if path.suffix in SOURCES]

    missing = {
        f"{path.relative_to(ROOT)}: {name}"
        for path in sources
        for name in NAMED_MODULE.findall(path.read_text(encoding="utf-8"))
        if not any(file.endswith(f"/{name}") for file in files)
    }

    assert sources
    assert missing == set()


def test_no_file_names_a_folder_of_one_machine() -> None:
    texts = [path for path in own_files() if path.suffix in OWN_SUFFIXES or path.name == "Makefile"]

    offences = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for path in texts
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1)
        if MACHINE_PATH.search(line)
    ]

    assert texts
    assert offences == []


def test_a_users_own_folders_called_model_and_service_break_nothing(tmp_path: Path) -> None:
    for name in ("model", "service"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text(f"raise SystemExit('{name} of the user was imported')\n")
    program = "import lexiseg_service.cli as cli; cli.app(['models', 'list'], standalone_mode=False)"

    answer = ended([sys.executable, "-c", program], cwd=tmp_path)

    assert answer.returncode == 0, answer.stderr
    assert "tiny" in answer.stdout
