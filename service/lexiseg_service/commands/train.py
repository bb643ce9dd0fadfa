"""`lexiseg train`."""

from __future__ import annotations

from functools import partial

import typer

from lexiseg_model.methods.tiny.training.names import NamesTrainer
from lexiseg_model.methods.tiny.training.prompts import PromptTrainer
from lexiseg_model.methods.tiny.training.publish import publish, publish_names, publish_prompts
from lexiseg_model.methods.tiny.training.recipe import NamesRecipe, PromptsRecipe, read_recipe
from lexiseg_model.methods.tiny.training.trainer import TinyTrainer


def run(name: str, overrides: list[str]) -> int:
    """Trains by a recipe and says where the weights are."""
    recipe = read_recipe(name, overrides)
    shares = "{share: 1.0}" if isinstance(recipe, PromptsRecipe) else "1.0"
    packed = not isinstance(recipe, PromptsRecipe) and all((recipe.packs / name).is_dir() for name in recipe.sets)
    if not recipe.data.is_dir() and not packed:
        typer.echo(
            f"lexiseg: there is no data at {recipe.data}.\n"
            f"The recipe {name!r} reads {', '.join(recipe.sets)}; each set is a folder\n"
            "  SET/classes.json              the class names; index = mask value\n"
            "  SET/train/images/NAME.jpg     photographs\n"
            "  SET/train/masks/NAME.png      8-bit masks of the same size, 255 = ignore\n"
            f"Name yours with: lexiseg train {name} data=FOLDER sets='{{SET: {shares}}}'",
            err=True,
        )
        return 1
    trainer: TinyTrainer | PromptTrainer | NamesTrainer
    if isinstance(recipe, PromptsRecipe):
        trainer, finish = PromptTrainer(recipe), partial(publish_prompts, recipe)
    elif isinstance(recipe, NamesRecipe):
        trainer, finish = NamesTrainer(recipe), partial(publish_names, recipe)
    else:
        trainer, finish = TinyTrainer(recipe), partial(publish, recipe)
    weights = trainer.train()
    if weights is None:
        typer.echo(f"{recipe.slice_minutes} minutes are over at step {trainer.step} of {recipe.steps}; start it again")
        return 0
    if not recipe.data.is_dir():
        typer.echo(f"weights are at {weights}; there is no data at {recipe.data} to measure them on")
        return 0
    typer.echo("weights are there; measuring")
    card = finish(weights)
    typer.echo(
        f"model directory: {weights.parent}\n"
        f"serve it: LEXISEG_MODELS_DIR={weights.parent.parent} lexiseg serve --model {card.name}"
    )
    return 0
