"""What a step of `tiny` is shown: crops drawn from packs, objects pasted onto them, and the questions asked."""
