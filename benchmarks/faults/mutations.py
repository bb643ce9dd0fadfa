"""Mutation score of central modules: of small faults put into a module, how many its tests notice.

`python -m benchmarks mutations [FAULTS] [MODULE ...]`: so many faults in each module (10), drawn by a fixed seed.
Prints caught and missed faults a module, and each missed one. mutmut and cosmic-ray try every fault, for hours.
"""

from __future__ import annotations

import ast
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy
from functools import partial
from pathlib import Path

ROOT = Path(__file__).parents[2]
# Tests that would show a fault of the module, quickly.
TESTS = {
    "labels/lexiseg_labels/masks/rle.py": "tests/labels/test_masks.py tests/model/masks",
    "labels/lexiseg_labels/masks/polygons.py": "tests/labels",
    "model/lexiseg_model/tasks/pixels.py": "tests/model/tasks",
    "model/lexiseg_model/masks/upsample.py": "tests/model/masks tests/model/tasks",
    "model/lexiseg_train/training/checkpoints.py": "tests/train/training",
    "service/lexiseg_service/fair_queue.py": "tests/service/test_fair_queue.py tests/service/worker/engine",
    "service/lexiseg_service/fleet/failover.py": "tests/service/fleet",
    "service/lexiseg_service/question/classes.py": "tests/service/question tests/service/gateway/rest",
    "service/lexiseg_service/records/documents.py": "tests/service/records tests/service/batch/ledger",
    "service/lexiseg_service/worker/engine.py": "tests/service/worker",
}
OPPOSITES: dict[type[ast.AST], type[ast.AST]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.And: ast.Or,
    ast.Or: ast.And,
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.FloorDiv,
    ast.Div: ast.Mult,
}


def faults(tree: ast.AST) -> Iterator[tuple[int, str, Callable[[], None]]]:
    """Line, name and making of each fault of a module; a making changes the tree."""
    for node in ast.walk(tree):
        line = getattr(node, "lineno", 0)
        match node:
            case ast.Compare(ops=[operator]) | ast.BoolOp(op=operator) | ast.BinOp(op=operator):
                if opposite := OPPOSITES.get(type(operator)):
                    field, value = ("ops", [opposite()]) if isinstance(node, ast.Compare) else ("op", opposite())
                    name = f"{type(operator).__name__} -> {opposite.__name__}"
                    yield line, name, partial(setattr, node, field, value)
            case ast.Constant(value=bool() as value):
                yield line, f"{value} -> {not value}", partial(setattr, node, "value", not value)
            case ast.Constant(value=int() | float() as value):
                yield line, f"{value} -> {value + 1}", partial(setattr, node, "value", value + 1)
            case ast.If(test=test) | ast.IfExp(test=test):
                yield line, "condition negated", partial(setattr, node, "test", ast.UnaryOp(ast.Not(), test))
            case ast.Expr(value=ast.Call() | ast.Await()) | ast.Raise():
                yield line, "statement left out", partial(_leave_out, tree, node)


def _leave_out(tree: ast.AST, statement: ast.stmt) -> None:
    nothing = ast.copy_location(ast.Expr(ast.Constant(None)), statement)
    for node in ast.walk(tree):
        for name in ("body", "orelse", "finalbody"):
            statements = getattr(node, name, None)
            if isinstance(statements, list) and statement in statements:
                statements[statements.index(statement)] = nothing


def main(arguments: Sequence[str]) -> None:
    wanted = int(arguments[0]) if arguments else 10
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "lexiseg"
        shutil.copytree(ROOT, folder, ignore=shutil.ignore_patterns("__pycache__", ".*"))
        for module in arguments[1:] or TESTS:
            _score(folder, module, wanted)


def _score(folder: Path, module: str, wanted: int) -> None:
    source = (ROOT / module).read_text(encoding="utf-8")
    began = time.monotonic()
    if not _pass(folder, module, 3600):
        raise SystemExit(f"{module}: its tests fail without a fault: {TESTS[module]}")
    limit = 60 + 5 * (time.monotonic() - began)
    tree = ast.parse(source)
    n_faults = len(list(faults(tree)))
    chosen = random.Random(0).sample(range(n_faults), min(wanted, n_faults))
    missed = []
    for number in sorted(chosen):
        changed = deepcopy(tree)
        line, name, make = list(faults(changed))[number]
        make()
        (folder / module).write_text(ast.unparse(ast.fix_missing_locations(changed)), encoding="utf-8")
        if _pass(folder, module, limit):
            missed.append(f"{module}:{line}: {name}: {source.splitlines()[line - 1].strip()}")
    (folder / module).write_text(source, encoding="utf-8")
    print(f"{module}: {len(chosen) - len(missed)} of {len(chosen)} caught", *missed, sep="\n  missed ", flush=True)


def _pass(folder: Path, module: str, seconds: float) -> bool:
    """Whether the tests of a copy pass; tests that do not end are a fault caught."""
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "-m", "not slow"]
    environment = os.environ | {
        "PYTHONPATH": str(folder / "service"),
        "OMP_NUM_THREADS": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    process = subprocess.Popen(
        [*command, *TESTS[module].split()],
        cwd=folder,
        env=environment,
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        return process.wait(seconds) == 0
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, 9)
        process.wait()
        return False
