"""SAM 2.1: what clicks, boxes and masks show, and the same in the frames of a video; no words."""
