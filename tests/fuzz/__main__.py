"""`python -m tests.fuzz`: looks by coverage for bytes that a target answers with anything but a typed error.

    python -m tests.fuzz --seconds 600                    # all targets, a share of the time each
    python -m tests.fuzz --seconds 60 --target image

A process for each target. What is new lies in `out/fuzz/TARGET`; what breaks a target, in `out/fuzz/TARGET-crash-...`,
and the exit status is 1. `--keep` adds to the corpus the smallest inputs that reached something new.
`seed-...` are made by hand: small right files, and data sets that attack their reader (`targets.NEXT_FILE`).
"""

import argparse
import hashlib
import subprocess
import sys
from pathlib import Path

CORPUS = Path(__file__).with_name("corpus")
OUT = Path("out/fuzz")
TARGETS = ("image", "rle", "message", "model", "data-set")
LONGEST = 4096  # bytes of an input
KEPT = 2048  # bytes of one that is kept
MOST_KEPT = 60  # inputs of a target
MEMORY_MB = 4096
SECONDS_OF_ONE = 20
INSTRUMENTED = ("lexiseg_model.catalogue", "lexiseg_model.masks", "lexiseg_model.pictures", "lexiseg_model.types",
                "lexiseg_service.image", "lexiseg_service.question", "lexiseg_service.gateway.rpc.parse",
                "lexiseg_train.data", "tests.fuzz.targets", "PIL", "yaml")  # fmt: skip


def search(target: str, words: list[str]) -> None:
    """One target, in this process; libFuzzer ends it."""
    import atheris

    with atheris.instrument_imports(include=list(INSTRUMENTED)):
        from tests.fuzz.targets import TARGETS as targets

    atheris.Setup([sys.argv[0], *words], targets[target])
    atheris.Fuzz()


def run(target: str, seconds: int) -> int:
    """One target in a process of its own, from the corpus; its exit status."""
    fresh = OUT / target
    fresh.mkdir(parents=True, exist_ok=True)
    words = [f"-max_total_time={seconds}", f"-max_len={LONGEST}", f"-rss_limit_mb={MEMORY_MB}"]
    words += [f"-timeout={SECONDS_OF_ONE}", f"-artifact_prefix={OUT / target}-", "-print_final_stats=1"]
    command = [sys.executable, "-m", "tests.fuzz", "--inside", target, *words, str(fresh), str(CORPUS / target)]
    print(f"== {target}", flush=True)
    return subprocess.run(command, check=False).returncode


def keep(target: str) -> None:
    """Adds to the corpus the smallest inputs that reached something new, as long as there is room."""
    folder = CORPUS / target
    found = sorted((path.read_bytes() for path in (OUT / target).iterdir()), key=len)
    known = {path.read_bytes() for path in folder.iterdir()}
    fresh = [content for content in found if content not in known and len(content) <= KEPT]
    for content in fresh[: max(0, MOST_KEPT - len(known))]:
        (folder / hashlib.sha256(content).hexdigest()[:16]).write_bytes(content)


def main(words: list[str]) -> int:
    """Gives the exit status."""
    if words[:1] == ["--inside"]:
        search(words[1], words[2:])
        return 0
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=600, help="for all targets together")
    parser.add_argument("--target", action="append", choices=TARGETS, help="none: all of them")
    parser.add_argument("--keep", action="store_true", help="add what is new to the corpus")
    options = parser.parse_args(words)
    targets = options.target or TARGETS
    broken = [target for target in targets if run(target, max(1, options.seconds // len(targets)))]
    if options.keep:
        for target in targets:
            keep(target)
    for target in broken:
        print(f"{target}: broken by {', '.join(map(str, OUT.glob(f'{target}-*')))}", file=sys.stderr)
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
