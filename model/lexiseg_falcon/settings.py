"""What the network of a Falcon Perception looks like: the card's settings."""

from __future__ import annotations

from pydantic import Field

from lexiseg_model.cards import StrictModel


class Architecture(StrictModel):
    """Sizes of the network, under the names of the checkpoint's config.json."""

    dim: int = Field(gt=0, description="width of a token")
    n_layers: int = Field(gt=0, description="blocks of the transformer")
    n_heads: int = Field(gt=0, description="query heads of a block")
    n_kv_heads: int = Field(gt=0, description="heads of keys and values; each serves several query heads")
    head_dim: int = Field(
        gt=0, multiple_of=4, description="width of a head; half of it is rotated by place in the image"
    )
    vocab_size: int = Field(gt=0, description="tokens that there are")
    ffn_dim: int = Field(gt=0, description="hidden width of a block's feed-forward layers")
    norm_eps: float = Field(gt=0, description="added to the mean square in the last norm")
    rope_theta: float = Field(gt=0, description="base of the rotation by place in the sequence")
    max_seq_len: int = Field(gt=0, description="tokens of a sequence, image and answer included")
    spatial_patch_size: int = Field(gt=0, description="side of a patch in pixels")
    segm_out_dim: int = Field(gt=0, multiple_of=4, description="width of the pixel features that masks are made of")
    num_segm_layers: int = Field(gt=0, description="linear layers of the mask head")
    coord_enc_dim: int = Field(gt=0, description="Fourier features of a centre")
    coord_dec_dim: int = Field(gt=0, description="hidden width of the head for centres")
    coord_out_dim: int = Field(gt=0, description="bins of a centre, of both axes together")
    size_enc_dim: int = Field(gt=0, description="Fourier features of a size")
    size_dec_dim: int = Field(gt=0, description="hidden width of the head for sizes")
    size_out_dim: int = Field(gt=0, description="bins of a size, of both axes together")


class ControlTokens(StrictModel):
    """Ids of the tokens that are no text."""

    bos: int | None = Field(description="token that begins every text; null: there is none")
    image: int = Field(description="place of a patch")
    before: list[int] = Field(description="tokens before the patches: the class token and the registers")
    after: int = Field(description="token that ends the image")
    coord: int = Field(description="an object's centre follows")
    size: int = Field(description="an object's size follows")
    seg: int = Field(description="an object's mask follows")
    stop: list[int] = Field(description="tokens that end the answer")


class FalconSettings(StrictModel):
    """All that running the weights needs."""

    network: Architecture = Field(description="sizes of the network")
    tokens: ControlTokens = Field(description="ids of control tokens")
    # The values of the released demonstration.
    min_side: int = Field(256, gt=0, description="shortest side of the network's input, in pixels")
    max_pixels: int = Field(28 * 28 * 1280, gt=0, description="most pixels of the network's input")
    max_tokens: int = Field(
        600, gt=0, description="most tokens of an answer, three of each object; the release has 2048"
    )
    repeat_distance: float = Field(
        0.01, ge=0, lt=1, description="distance of two centres, as a share of the side, below which one is a repetition"
    )
    mask_threshold: float = Field(
        0.3, gt=0, lt=1, description="probability at which a pixel belongs to an object's mask"
    )
