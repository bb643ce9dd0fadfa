"""SAM 2.1 and EdgeTAM: masks for clicks, boxes and masks, tracked through videos; no text classes."""
