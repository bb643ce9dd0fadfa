"""Instances, panoptic segments and prompts: judged image by image."""
