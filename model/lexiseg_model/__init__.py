"""Open-vocabulary segmentation models: images and text classes in, masks out. Independent of the service."""
