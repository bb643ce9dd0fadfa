"""Data sets: their readers here, what prepares and checks them in `preparing`, what labels them in `labelling`.

indexed       a set with masks: SET/classes.json, SET/SPLIT/images, SET/SPLIT/masks
annotations   files of annotation tools: COCO (the one parser), YOLO, Labelme and others
own           a user's folder of any of these, as a set with masks
benchmark     public benchmarks in their official layouts
scenes        photographs with objects, for instances, panoptic segments, prompts and outlines
pairs         photographs with captions: folders, tables, tar shards, near and far
"""
