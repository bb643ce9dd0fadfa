"""A CVAT interaction function for CVAT agents: `--function-module lexiseg_client.cvat_clicks`. Needs cvat-sdk.

cvat-cli function create-native clicks --function-module lexiseg_client.cvat_clicks
cvat-cli function run-agent FUNCTION_ID --function-module lexiseg_client.cvat_clicks
"""

from __future__ import annotations

import cvat_sdk.auto_annotation as cvataa
from cvat_sdk import models
from cvat_sdk.masks import encode_mask

from lexiseg_client.client import Client
from lexiseg_client.errors import LexisegError
from lexiseg_client.images import ImageLike, file_bytes
from lexiseg_client.question import Point, Prompt

if not hasattr(cvataa, "InteractionFunctionSpec"):
    raise ImportError("this cvat-sdk has no interaction functions, as 2.80 has: pip install -U cvat-sdk cvat-cli")


class Function:
    """A CVAT interaction function: the best mask for positive and negative points and a box."""

    spec: cvataa.InteractionFunctionSpec = cvataa.InteractionFunctionSpec(
        min_pos_points=0, min_neg_points=0, min_bounding_boxes=0
    )

    def __init__(self, client: Client) -> None:
        self._client = client

    def preprocess_image(self, context: cvataa.InteractionFunctionContext, image: ImageLike) -> bytes:
        """The image as a file, which is encoded and sent once for all clicks on it."""
        return file_bytes(image)

    def detect(
        self, context: cvataa.InteractionFunctionContext, image: bytes, prompts: cvataa.InteractionPrompts
    ) -> list[cvataa.InteractionResultShape]:
        """One mask with the model's estimate of its quality; none without a point and a box."""
        points = [Point(x, y) for x, y in prompts.pos_points] + [Point(x, y, False) for x, y in prompts.neg_points]
        box = prompts.bounding_box
        if not points and box is None:
            return []
        prompt = Prompt(points, None if box is None else [side for corner in box for side in corner])
        try:
            best = self._client.segment(image, prompts=[prompt]).of_prompt(0)[:1]
        except LexisegError as error:
            raise cvataa.BadFunctionError(str(error)) from None
        return [
            cvataa.InteractionResultShape(
                type="mask",
                points=encode_mask(segment.mask),
                attributes=[
                    models.AttributeValRequest(
                        spec_id=int(cvataa.InteractionResultAttributes.CONFIDENCE),
                        value=str(segment.score if segment.quality is None else segment.quality),
                    )
                ],
            )
            for segment in best
            if segment.area
        ]


def create(server: str | None = None, api_key: str | None = None) -> Function:
    """Create the function from cvat-cli's `-p NAME=TYPE:VALUE` parameters.

    Args:
        server: URL; None: LEXISEG_BASE_URL.
        api_key: None: LEXISEG_API_KEY.
    """
    return Function(Client(server, api_key=api_key))
