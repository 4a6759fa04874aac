"""Decoding picture files: pil_loader; and paths and names in messages.

Files come from anywhere. Their content selects one of a few trusted decoders; a file that is not a
picture, or is too large, raises an error that names the file.
"""

from __future__ import annotations

import contextlib
import os
import stat
import warnings
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, BinaryIO

import numpy as np

from ...errors import ArgumentError, DataError

if TYPE_CHECKING:
    from PIL import Image

FORMATS = ("JPEG", "PNG", "PPM", "BMP", "TIFF", "WEBP")  # few, so that few decoders are trusted


def shown(path: str | bytes | os.PathLike[str]) -> str:
    """Return a path for a message: as it is, or quoted if its bytes can't be printed safely."""
    text = os.fsdecode(path)
    return text if text.isprintable() else repr(text)


def first_of(names: Sequence[str], most: int = 8) -> str:
    """Return names for a message: the first ones, and how many more there are."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


@contextlib.contextmanager
def reading(what: str) -> Iterator[None]:
    """Make a DataError about `what` of the system's error if it can't be read."""
    try:
        yield
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise DataError(f"{what} can't be read: {reason}") from error


def pil_loader(
    source: str | os.PathLike[str] | BinaryIO, at_least: int | None = None, exif: bool = False
) -> Image.Image:
    """Decode a picture file to an RGB picture.

    The content decides how the file is decoded, not its name: one "JPEG" of ImageNet is a PNG.
    CMYK, gray and palette pictures become RGB; transparency is dropped; warnings about damaged
    metadata are silenced. More than 8 bits per channel are reduced to 8: 16 bits by their upper 8;
    32-bit integers and floats by the smallest of the ranges 0 to 1 (floats only), 0 to 255 and
    0 to 65535 that holds the picture, otherwise from its least to its greatest value.

    Parameters
    ----------
    source : str, path or binary file
        A JPEG, PNG, PPM, BMP, TIFF or WebP file. Errors refer to an open file by its ``name``.
    at_least : int, optional
        Decode a JPEG at 1/2, 1/4 or 1/8 of its size as long as both sides keep at least this many
        pixels. This saves time if the transforms begin by shrinking the picture. Other formats
        keep their size. Default: the picture's own size.
    exif : bool
        Turn and mirror the picture as its EXIF data say: a camera held upright often stores a
        picture lying on its side. Default False, as in torchvision.

    Returns
    -------
    PIL.Image.Image
        Mode RGB.

    Raises
    ------
    DataError
        The file is missing, empty, damaged, not a picture or not a regular file, or claims more
        than twice ``PIL.Image.MAX_IMAGE_PIXELS`` pixels.
    ArgumentError
        ``at_least`` is less than 1.

    Notes
    -----
    Many kinds of damage in a JPEG's compressed data yield a wrong picture without an error.

    A JPEG shrinks by dropping the high frequencies of its 8 x 8 blocks. ``Resize`` uses another
    filter, so pixels differ slightly, and the longer side may differ by a pixel. Photographs of
    2048 x 1536 pixels, followed by ``Resize(256)``: ``at_least=512`` takes half the time and
    changes a pixel by 0.25 gray levels on average, less than the 0.32 from saving at quality 92;
    ``at_least=256`` takes a third and changes it by 0.56. Most of ImageNet's pictures (500 x 375)
    are too small for either to have an effect.

    Examples
    --------
    >>> from functools import partial
    >>> quick = partial(pil_loader, at_least=512)
    >>> pictures = ImageFolder("photos", loader=quick)  # doctest: +SKIP
    """
    from PIL import Image

    if at_least is not None and at_least < 1:
        raise ArgumentError(f"pil_loader: at_least must be 1 or more, got {at_least}")
    _ignore_harmless_warnings()
    try:
        if isinstance(source, (str, os.PathLike)):
            _check_file(source)
        with Image.open(source, formats=FORMATS) as picture:
            if at_least is not None:
                picture.draft(None, (at_least, at_least))
            if exif:
                _turn(picture)
            return _to_rgb(picture)
    except Exception as error:  # damaged files make Pillow raise almost anything
        if not isinstance(source, (str, os.PathLike)):
            source = str(getattr(source, "name", "an open file"))
        if isinstance(error, OSError) and error.errno:  # the system's errors; Pillow's have none
            raise DataError(f"{shown(source)} can't be read: {error.strerror}") from error
        raise DataError(
            f"{shown(source)} can't be decoded as a picture: {type(error).__name__}: {error}"
        ) from error


def _check_file(path: str | os.PathLike[str]) -> None:
    status = os.stat(path)
    if not stat.S_ISREG(status.st_mode):  # opening a pipe would wait forever for a writer
        what = "a folder" if stat.S_ISDIR(status.st_mode) else "a pipe, socket or device"
        raise OSError(f"it is {what}, expected a file")
    if status.st_size == 0:
        raise OSError("the file is empty (0 bytes)")


def _ignore_harmless_warnings() -> None:
    # The filter stays, because warnings.catch_warnings is not thread-safe. It is set again before
    # each picture if it is missing, because others may replace it with their own.
    for kind, _, category, module, _ in warnings.filters:
        ours = module is not None and getattr(module, "pattern", module) == _QUIET_MODULES
        if ours and kind == "ignore" and category is UserWarning:
            return
    warnings.filterwarnings("ignore", category=UserWarning, module=_QUIET_MODULES)


# Pillow's readers of EXIF blocks and of further pictures in a JPEG.
_QUIET_MODULES = r"PIL\.(Tiff|Jpeg)ImagePlugin"


def _to_rgb(picture: Image.Image) -> Image.Image:
    """Return any picture as RGB."""
    from PIL import Image

    if picture.mode[0] in "IF":  # gray of more than 8 bits, which convert() would clip at 255
        return Image.fromarray(_to_bytes(np.asarray(picture), picture.mode)).convert("RGB")
    if picture.mode == "P" and "transparency" in picture.info:
        return picture.convert("RGBA").convert("RGB")  # direct conversion makes Pillow warn
    return picture.convert("RGB")


def _to_bytes(gray: np.ndarray, mode: str) -> np.ndarray:
    """Return gray values of more than 8 bits as uint8."""
    if mode.startswith("I;16"):
        return (gray >> 8).astype(np.uint8)
    values = gray.astype(np.float64)
    finite = np.isfinite(values)
    values[~finite] = values[finite].min() if finite.any() else 0
    low, high = values.min(), values.max()
    if mode == "F" and low >= 0 and high <= 1:
        values *= 255
    elif low >= 0 and 255 < high < 65536:
        values = np.floor(values / 256)
    elif low < 0 or high > 255:
        values = (values - low) * (255 / max(high - low, 1e-300))
    return np.rint(values).astype(np.uint8)


def _turn(picture: Image.Image) -> None:
    """Turn a picture in place as its EXIF data say; damaged ones say nothing."""
    from PIL import ImageOps

    picture.load()
    with contextlib.suppress(Exception):  # Pillow raises almost anything
        ImageOps.exif_transpose(picture, in_place=True)
