"""Open-vocabulary segmentation models: pixels and words in, masks out. Knows nothing of serving."""
