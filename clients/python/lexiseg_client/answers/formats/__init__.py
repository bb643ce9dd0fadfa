"""Answers as annotation tools, trainers and maps take them; each module is one format."""
