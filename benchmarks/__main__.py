"""Run benchmarks: `python -m benchmarks [PART ...]`; without a part `counts`, with `all` every part below.

Not in `all`, because they take arguments:
- `clicks ROOT [SET ...]`: clicks to label further pictures, with and without a head
- `contrast`: time and memory of a training step that contrasts all its pairs, by parts and processes
- `corrections ROOT [SET:SPLIT ...]`: IoU of words' segments before and after a click where they are wrong
- `everyday ROOT MODEL`, `open ROOT MODEL`, `parts ROOT MODEL`: words that weights of `tiny` find in unseen photographs
- `smoke NAME ... [seeds=3] [key=value ...]`: short training runs
- `device [NAME]`: throughput of a GPU
- `distil ROOT`: a student taught by `tiny` against one trained on masks alone
- `student SET`: a large model distilled into `tiny` on a public set, and its line
- `examples ROOT [SET ...]`: classes by example images against classes by words
- `following ROOT`, `video ROOT`: an object followed through clips; flicker of labels, with and without smoothing
- `proposals ROOT`: CPU time and quality of proposals
- `released [NAME ...]`: forward passes beside the released code's own (`make released` installs it)
- `scores ROOT`: calibration of words' scores, precision by threshold, similar classes
- `killed ROOT`: a job whose processes are killed, each answer compared
- `mutations [FAULTS] [MODULE ...]`: small faults put into central modules, and how many the tests notice
- `languages`: words of seven languages read as English
- `teach ROOT [SET ...]`: classes taught by pictures against classes by words
- `page [FOLDER]`: the playground in a browser, and a site of `lexiseg site`
"""

from __future__ import annotations

import os
import sys

os.environ.setdefault("OMP_WAIT_POLICY", "passive")

from collections.abc import Callable, Sequence
from functools import partial

from benchmarks import (
    by_words,
    contrast,
    corrections,
    counts,
    distil,
    finish,
    jobs,
    languages,
    masks,
    page,
    prompts,
    proposals,
    refinement,
    runtimes,
    scores,
    serving,
    smoke,
)
from benchmarks.by_pictures import clicks, examples, teach
from benchmarks.by_words import everyday, open_names
from benchmarks.by_words import parts as parts_of_things
from benchmarks.calls import follow_up, stages
from benchmarks.clips import following, video
from benchmarks.device import run as device
from benchmarks.faults import killed, mutations
from benchmarks.released import run as released

PARTS: dict[str, Callable[[], None]] = {
    "counts": counts.run,
    "finish": finish.run,
    "jobs": jobs.run,
    "later": follow_up.run,
    "masks": masks.run,
    "prompts": prompts.run,
    "refinement": refinement.run,
    "runtimes": runtimes.run,
    "serving": serving.run,
    "stages": stages.run,
}

WITH_ARGUMENTS: dict[str, Callable[[Sequence[str]], None]] = {
    "clicks": clicks.main,
    "contrast": contrast.main,
    "corrections": corrections.main,
    "device": device.main,
    "distil": distil.main,
    "student": distil.student,
    "everyday": partial(by_words.run, everyday.check),
    "examples": examples.main,
    "following": following.main,
    "killed": killed.main,
    "languages": languages.main,
    "mutations": mutations.main,
    "open": partial(by_words.run, open_names.check),
    "page": page.main,
    "parts": partial(by_words.run, parts_of_things.check),
    "proposals": proposals.main,
    "released": released.main,
    "scores": scores.main,
    "smoke": smoke.main,
    "teach": teach.main,
    "video": video.main,
}

if __name__ == "__main__":
    if sys.argv[1:] and sys.argv[1] in WITH_ARGUMENTS:
        WITH_ARGUMENTS[sys.argv[1]](sys.argv[2:])
        sys.exit()
    parts = [name for name in sys.argv[1:] if name != "--write"] or ["counts"]
    for name in (part for part in PARTS if part != "stages") if parts == ["all"] else parts:
        if name not in PARTS:
            available = ", ".join([*PARTS, *WITH_ARGUMENTS])
            print(f"no benchmark {name!r}; available: {available}", file=sys.stderr)
            sys.exit(2)
        PARTS[name]()
