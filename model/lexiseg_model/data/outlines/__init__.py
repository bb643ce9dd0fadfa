"""Photographs in which objects are outlined, with names or without: SA-1B and COCO's instances."""
