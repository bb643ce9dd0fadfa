"""`lexiseg train`."""

from __future__ import annotations

import typer

from lexiseg_model.training.prompts import PromptTrainer
from lexiseg_model.training.publish import publish, publish_prompts
from lexiseg_model.training.recipe import PromptsRecipe, read_recipe
from lexiseg_model.training.tiny import TinyTrainer


def run(name: str, overrides: list[str]) -> int:
    """Trains by a recipe and says where the weights are."""
    recipe = read_recipe(name, overrides)
    shares = "{share: 1.0}" if isinstance(recipe, PromptsRecipe) else "1.0"
    if not recipe.data.is_dir():
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
    if isinstance(recipe, PromptsRecipe):
        weights = PromptTrainer(recipe).train()
        typer.echo("weights are there; measuring")
        card = publish_prompts(recipe, weights)
    else:
        weights = TinyTrainer(recipe).train()
        typer.echo("weights are there; calibrating the background rule and measuring")
        card = publish(recipe, weights)
    typer.echo(
        f"model directory: {weights.parent}\n"
        f"serve it: LEXISEG_MODELS_DIR={weights.parent.parent} lexiseg serve --model {card.name}"
    )
    return 0
