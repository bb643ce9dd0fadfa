"""How `tiny` is trained: its packs, questions, losses, recipes, and what makes a model directory of the result."""
