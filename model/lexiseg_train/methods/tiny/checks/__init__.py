"""Figures by which weights of `tiny` are chosen, on words and photographs that no crop of a training shows."""
