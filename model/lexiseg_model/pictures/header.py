"""Headers of pictures: format, size, orientation and colours, without decoding a pixel."""

from __future__ import annotations

import io
import warnings
from dataclasses import dataclass

import pi_heif
from PIL import Image

from lexiseg_model.errors import DamagedPictureError, PictureError, UnsupportedPictureError
from lexiseg_model.pictures.colour_space import SRGB, ColourSpace, of_heif, of_icc, of_png
from lexiseg_model.pictures.formats import BRANDS, sniff
from lexiseg_model.pictures.orientation import AS_STORED, orientation_of, upright_size
from lexiseg_model.pictures.structure import check_structure
from lexiseg_model.pictures.tiff import TiffPage
from lexiseg_model.pictures.tiff_kinds import check_kind, picture_page

pi_heif.register_heif_opener(thumbnails=False, depth_images=False, aux_images=False)
Image.MAX_IMAGE_PIXELS = None  # callers compare the header's size with their own limit


@dataclass(frozen=True)
class PictureHeader:
    """The header of a still picture.

    Attributes:
        format: Pillow's name of it.
        size: (height, width) of the upright picture.
        orientation: 1 to 8 as in EXIF, of the stored pixels; 1 of HEIC and AVIF, whose decoders follow the container.
        page: of a TIFF, the page that is the picture.
        colours: what the file says about them; None: other than sRGB, and not at hand.
    """

    format: str
    size: tuple[int, int]
    orientation: int = AS_STORED
    page: TiffPage | None = None
    colours: ColourSpace | None = SRGB

    @property
    def has_colours(self) -> bool:
        """Whether the file says that its colours are others than sRGB's."""
        return self.colours != SRGB

    @property
    def is_whole(self) -> bool:
        """Whether all that decoding needs is here: page and colours do not travel from gateway to worker."""
        return self.colours is not None and (self.format != "TIFF" or self.page is not None)

    @property
    def stored_size(self) -> tuple[int, int]:
        """(height, width) of the stored pixels."""
        return upright_size(self.size, self.orientation)


def read_header(content: bytes) -> PictureHeader:
    """Read the header of a still picture.

    Raises:
        UnsupportedPictureError: not a still picture of a format that is taken.
        DamagedPictureError: the header is damaged, or the file has too many parts.
    """
    kind = sniff(content)
    check_structure(content, kind)
    try:
        if kind == "TIFF":
            page = picture_page(content)
            check_kind(page)
            size = upright_size(page.size, page.orientation)
            return PictureHeader(kind, size, page.orientation, page, of_icc(page.profile))
        if kind in BRANDS:  # libheif bounds what a container may hold; libavif takes seconds for a hostile one
            heif = pi_heif.open_heif(content)
            width, height = heif.size
            return PictureHeader(kind, (height, width), colours=of_heif(heif.info))
        return _by_pillow(content, kind)
    except PictureError:
        raise
    except Exception as error:  # parsers raise almost anything on a damaged file
        raise DamagedPictureError(f"begins like {kind}, but its header is damaged ({type(error).__name__})") from None


def _by_pillow(content: bytes, kind: str) -> PictureHeader:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # damaged metadata is no reason to refuse or to log
        with Image.open(io.BytesIO(content), formats=[kind]) as picture:
            # A JPEG with a second picture inside (MPO, many phones) is a still image.
            if kind != "JPEG" and getattr(picture, "is_animated", False):
                raise UnsupportedPictureError(f"an animated {kind} came; send one still picture")
            orientation = orientation_of(picture)
            width, height = picture.size
            colours = of_png(content, picture.info) if kind == "PNG" else of_icc(picture.info.get("icc_profile"))
    return PictureHeader(kind, upright_size((height, width), orientation), orientation, colours=colours)
