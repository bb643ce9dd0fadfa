"""Photographs with captions: sources on disk, and draws that a resumed run repeats."""
