"""Rows of results in parquet."""

import pyarrow

from lexiseg_service.batch.rows import ROWS, answer_of, row_of_line


def test_a_score_comes_back_as_it_was_answered() -> None:
    mask = {"format": "coco_rle", "size": [4, 4], "counts": "088"}
    segment = {"label": "sky", "class_index": 0, "score": 0.9996, "area": 8, "bbox": [0, 0, 2, 4], "is_thing": False}
    answer = {"size": [4, 4], "model_digest": "digest", "segments": [{**segment, "mask": mask}]}
    row = row_of_line({"image": "a.png", "answer": answer, "problem": None})

    (kept,) = pyarrow.Table.from_pylist([row], ROWS).to_pylist()

    assert [each.score for each in answer_of(kept, "tiny").segments] == [0.9996]
