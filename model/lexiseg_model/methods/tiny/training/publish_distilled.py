"""From a student's weights to a model directory, with what its teacher changed."""

from __future__ import annotations

import json
from pathlib import Path
from tempfile import TemporaryDirectory

from safetensors.torch import save_file

from lexiseg_model import catalogue
from lexiseg_model.catalogue.weights import file_digest
from lexiseg_model.data.indexed import read_dataset
from lexiseg_model.data.own.taught import ABOUT, SHARES
from lexiseg_model.evaluation.before_after import BeforeAfter, counts_of, write_samples
from lexiseg_model.methods.tiny.training.distil import LAID_OUT, laid_out
from lexiseg_model.methods.tiny.training.publish import publish
from lexiseg_model.methods.tiny.training.publish_finetuned import COMPARED, SAMPLES, report
from lexiseg_model.methods.tiny.training.recipe import OWN, DistilRecipe
from lexiseg_model.methods.tiny.training.trainer import initial_network
from lexiseg_model.training.publishing import with_terms, write_card
from lexiseg_model.types import ModelCard


def publish_distilled(recipe: DistilRecipe, weights: Path) -> ModelCard:
    """Write the card, the words, `before-after.json` and `samples/`; prints a table of before and after.

    Before is what the student began as. Both are measured on the folder's own `val` where it has the same classes,
    else against the teacher's masks of photographs kept apart.
    """
    inner, folder, place = laid_out(recipe), weights.parent, recipe.out / LAID_OUT / OWN
    card = publish(inner, weights)
    teacher = json.loads((place / ABOUT).read_bytes())["model"]
    *before, _ = card.training_data
    n_photographs = sum(1 for _ in (place / "train" / "images").iterdir())
    shown = with_terms(f"{n_photographs} photographs, labelled by {teacher}", recipe.data)
    card = card.model_copy(
        update={
            "summary": f"A network of tiny, {recipe.width:g} times as wide, taught by {teacher}.",
            "training_data": [*before, shown],
            "lineage": f"{card.lineage} Taught by {teacher}.",
        }
    )
    write_card(card, folder)
    data = read_dataset(inner.data, OWN, "val")
    after = catalogue.load_folder(folder, recipe.device)
    with TemporaryDirectory() as name:
        file = Path(name) / weights.name
        save_file(initial_network(inner).state_dict(), file)
        begun = card.model_copy(update={"weights_sha256": file_digest(file)})
        start = catalogue.load_folder(file.parent, recipe.device, card=begun)
        compared = BeforeAfter(data.classes, counts_of(start, data), counts_of(after, data))
        if recipe.samples:
            write_samples(start, after, data, recipe.samples, folder / SAMPLES)
    truth = f"by the masks of {teacher}" if (place / "val" / SHARES).is_dir() else "kept apart"
    print(f"{len(data.samples)} photographs {truth}, in percent:\n{compared.table()}", flush=True)
    reports = {"before": compared.before, "after": compared.after}
    told = {when: report(card.name, data, counts).to_json() for when, counts in reports.items()}
    (folder / COMPARED).write_text(json.dumps({"teacher": teacher, **told}, indent=1, ensure_ascii=False))
    return card
