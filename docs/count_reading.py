"""Lines of source that a reader has to open, by part: `python docs/count_reading.py`.

Counts all lines of Python and C, comments and blank ones included, without generated stubs. A file is of the part whose
folder or file below is nearest to it.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SOURCES = (".py", ".c", ".h")
GENERATED = "stubs"
SERVING = ("core", "serve", "labels", "client")  # what a reader of serving opens
MODEL, SERVICE, LABELS = "model/lexiseg_model", "service/lexiseg_service", "labels/lexiseg_labels"
TINY, COMMANDS = f"{MODEL}/methods/tiny", f"{SERVICE}/commands"
PARTS = {
    "core": (MODEL, TINY, f"{MODEL}/methods/__init__.py"),
    "serve": (SERVICE, f"{COMMANDS}/serving", f"{COMMANDS}/options.py"),
    "labels": (LABELS,),
    "client": ("clients/python/lexiseg_client",),
    # Work that is not one request: jobs, bulk, trainings.
    "batch": (
        *(f"{SERVICE}/{each}" for each in ("batch", "gateway/trainings", "gateway/times.py", "watch/collectors.py")),
        *(f"{SERVICE}/gateway/rest/{each}.py" for each in ("training_routes", "events")),
        f"{COMMANDS}/bulk.py",
        f"{MODEL}/catalogue/store.py",  # object stores
        f"{COMMANDS}/serving/trainer.py",
    ),
    # Classes learned from reviewed pictures: a request with a `head` gets them by `gateway.use_case.Learn`.
    "heads": (
        *(f"{SERVICE}/gateway/{each}" for each in ("heads", "rest/head_routes.py", "rest/uploads.py")),
        f"{SERVICE}/gateway/uploaded_archive.py",
        *(f"{MODEL}/{each}.py" for each in ("files/sandbox", "vocabulary/solving")),
    ),
    # Commands on files, other tools' protocols, and what makes the page's graphs: no server imports them.
    "tools": (
        *(f"{SERVICE}/{each}" for each in ("adapters", "commands", "web", "cli.py", "in_process.py")),
        *(f"{COMMANDS}/serving/{each}.py" for each in ("app", "vocabularies")),
        *(f"{MODEL}/{each}" for each in ("command_line", "tasks/label_maps.py")),
        *(f"{TINY}/{each}.py" for each in ("browser", "browser_graphs", "mask_graphs")),
        f"{MODEL}/export/wasm.py",
        *(f"clients/python/lexiseg_client/{each}.py" for each in ("cvat", "cvat_clicks", "osam")),
        "clients/qgis",
    ),
    # Every method but tiny, what they share, their imports, and the suite that they pass.
    "methods": (
        *(f"{MODEL}/{each}" for each in ("methods", "clip", "testing")),
        *(f"{MODEL}/catalogue/{each}.py" for each in ("hub", "importing", "transformers_model")),
    ),
    # Learning, and the readers of its data sets.
    "train": (
        "model/lexiseg_train",
        *(f"{LABELS}/{each}.py" for each in ("annotations", "masks/outlines")),
    ),
}


def main() -> None:
    """Print the lines of each part, and those of serving."""
    lines = counted()
    for part, places in PARTS.items():
        print(f"{part:8}{lines[part]:7,}  {' '.join(places)}")
    serving = sum(lines[part] for part in SERVING)
    print(f"A reader of serving opens {' + '.join(SERVING)}: {serving:,} of {sum(lines.values()):,}.")


def counted() -> Counter[str]:
    """Lines of each part."""
    places = {folder: part for part, folders in PARTS.items() for folder in folders}
    assert all((ROOT / place).exists() for place in places)
    roots = [folder for folder in places if not any(Path(other) in Path(folder).parents for other in places)]
    lines: Counter[str] = Counter()
    for path in (path for root in roots for path in (ROOT / root).rglob("*")):
        if path.suffix in SOURCES and GENERATED not in path.parts:
            inside = path.relative_to(ROOT)
            nearest = next(place for each in (inside, *inside.parents) if (place := each.as_posix()) in places)
            lines[places[nearest]] += len(path.read_text(encoding="utf-8").splitlines())
    return lines


if __name__ == "__main__":
    main()
