"""Sizes of photographs as listings state them, compared with the photographs themselves."""

from __future__ import annotations

from dataclasses import dataclass, field

from lexiseg_labels.errors import UnreadableLabels
from lexiseg_labels.masks.outlines import checked_size
from lexiseg_model.errors import PictureError
from lexiseg_model.pictures.header import read_header
from lexiseg_train.data.annotations.photographs import Photographs

TRANSPOSED = (5, 6, 7, 8)  # EXIF orientations by which width and height change places


def stated_size(name: str, height: object, width: object) -> tuple[int, int]:
    """(H, W) as a listing states it, for photographs that are not looked at. Raises UnreadableLabels: impossible."""
    del name
    return checked_size(height, width)


@dataclass
class MeasuredSizes:
    """Sizes of the upright photographs of one listing, whatever it states of them."""

    photographs: Photographs
    turned: list[str] = field(default_factory=list)  # with a size as stored, before EXIF's rotation

    def __call__(self, name: str, height: object, width: object) -> tuple[int, int]:
        """(H, W) of the upright photograph.

        Label Studio and others state width and height as stored, and draw outlines on the upright photograph.

        Raises:
            UnreadableLabels: there is no such photograph, it cannot be read, or the listing states another
                possible size.
        """
        path = self.photographs.find(name)
        if path is None:
            raise UnreadableLabels("there is no such file in the data set")
        try:
            header = read_header(path.read_bytes())
        except OSError as error:
            raise UnreadableLabels(f"cannot be read: {error.strerror}") from None
        except PictureError as error:
            raise UnreadableLabels(f"cannot be read as an image: {error}") from None
        size = checked_size(*header.size)
        try:
            stated = checked_size(height, width)
        except UnreadableLabels:  # not stated, or 0 x 0 as FiftyOne writes without metadata
            return size
        if stated == size:
            return size
        if stated == size[::-1] and header.orientation in TRANSPOSED:
            self.turned.append(name)
            return size
        raise UnreadableLabels(f"stated as {stated[1]} x {stated[0]}, the photograph is {size[1]} x {size[0]} upright")

    def warnings(self) -> tuple[str, ...]:
        """A sentence about sizes that were read otherwise than they are stated."""
        if not self.turned:
            return ()
        photographs = f"{len(self.turned)} photographs, such as {self.turned[0]},"
        return (f"{photographs} are stated before their EXIF rotation: outlines are taken as of the upright ones",)
