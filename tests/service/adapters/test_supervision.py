import httpx
import pytest
import supervision

from tests.service.adapters.asking import PICTURE, SQUARE


@pytest.mark.tools
async def test_supervision_reads_masks_boxes_and_names(client: httpx.AsyncClient) -> None:
    answer = await client.post(
        "/adapters/supervision/segment",
        files=[("image", ("a.png", PICTURE)), ("classes", (None, "blue")), ("classes", (None, "red"))],
    )

    detections = supervision.Detections.from_inference(answer.json())

    assert list(detections.data["class_name"]) == ["blue", "red"]
    assert detections.class_id is not None
    assert detections.class_id.tolist() == [0, 1]
    assert detections.xyxy.tolist() == [[32, 0, 48, 16], [0, 0, 16, 16]]
    assert detections.mask is not None
    assert [int(mask.sum()) for mask in detections.mask] == [SQUARE, SQUARE]
    assert [bool(mask[y, x]) for mask, (x, y) in zip(detections.mask, [(33, 1), (1, 1)], strict=True)] == [True, True]
