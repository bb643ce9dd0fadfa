"""Proposals of everything: which points of a grid are asked, in how much of the picture, and what is kept."""
