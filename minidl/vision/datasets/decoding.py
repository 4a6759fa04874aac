"""How a picture file is decoded: pil_loader; and how paths are written in messages.

Files come from anywhere. The content decides which decoder is asked, of few that are trusted; what
is no picture, or too large a one, is an error that names the file.
"""

from __future__ import annotations

import os
import stat
import warnings
from typing import TYPE_CHECKING, BinaryIO

import numpy as np

from ...errors import ArgumentError, DataError

if TYPE_CHECKING:
    from PIL import Image

FORMATS = ("JPEG", "PNG", "PPM", "BMP", "TIFF", "WEBP")  # no others: fewer decoders to trust


def shown(path: str | bytes | os.PathLike[str]) -> str:
    """Write a path for a message: as it is, or quoted if its bytes can't be printed safely."""
    text = os.fsdecode(path)
    return text if text.isprintable() else repr(text)


def pil_loader(
    source: str | os.PathLike[str] | BinaryIO, at_least: int | None = None
) -> Image.Image:
    """Decode a picture file to an RGB picture.

    The file's content decides how it is decoded and not its name: one "JPEG" of ImageNet is a PNG.
    CMYK, grey, palette and 16-bit pictures become RGB; transparency is dropped; a rotation noted in
    the EXIF block is not applied; warnings about damaged blocks of metadata are silenced.

    Parameters
    ----------
    source : str, path or binary file
        A JPEG, PNG, PPM, BMP, TIFF or WebP file. An open file is called by its ``name`` in errors.
    at_least : int, optional
        Lets a JPEG be decoded at 1/2, 1/4 or 1/8 of its size, so long as both sides stay at least
        this long, in pixels. Decoding then takes less time, for transforms that begin by making
        the picture smaller. Other formats keep their size. Default: the picture's own size.

    Returns
    -------
    PIL.Image.Image
        Of mode RGB.

    Raises
    ------
    DataError
        If the file is missing, empty or damaged, holds no picture, is no regular file, or claims
        more than twice ``PIL.Image.MAX_IMAGE_PIXELS`` pixels.
    ArgumentError
        If ``at_least`` is less than 1.

    Notes
    -----
    Much damage inside a JPEG's compressed data decodes to a wrong picture without an error.

    A JPEG is made smaller by leaving out the high frequencies of its 8 x 8 blocks. That is not the
    filter that ``Resize`` has, so pixels differ a little, and the longer side may come out a pixel
    longer or shorter. Photographs of 2048 x 1536 pixels, then ``Resize(256)``: ``at_least=512``
    takes half of the time and changes a pixel by 0.25 grey levels on average, less than the 0.32
    that saving at quality 92 does; ``at_least=256`` takes a third and changes it by 0.56. Most of
    ImageNet's pictures (500 x 375) are too small for either to do anything.

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
            return _to_rgb(picture)
    except Exception as error:  # damaged files make Pillow raise almost anything
        if isinstance(source, (str, os.PathLike)):
            name = os.fsdecode(source)
        else:
            name = str(getattr(source, "name", "an open file"))
        if isinstance(error, OSError) and error.errno:  # the system's; Pillow's have none
            raise DataError(f"{shown(name)} can't be read: {error.strerror}") from error
        raise DataError(
            f"{shown(name)} can't be decoded as a picture: {type(error).__name__}: {error}"
        ) from error


def _check_file(path: str | os.PathLike[str]) -> None:
    status = os.stat(path)
    if not stat.S_ISREG(status.st_mode):  # opening a pipe would wait for a writer for ever
        what = "a folder" if stat.S_ISDIR(status.st_mode) else "a pipe, socket or device"
        raise OSError(f"it is {what}, expected a file")
    if status.st_size == 0:
        raise OSError("the file is empty (0 bytes)")


def _ignore_harmless_warnings() -> None:
    # A filter that stays, because warnings.catch_warnings is not safe among threads; set before
    # each picture (unless it is there) because others may put their own filters in its place.
    for kind, _, category, module, _ in warnings.filters:
        ours = module is not None and getattr(module, "pattern", module) == _QUIET_MODULES
        if ours and kind == "ignore" and category is UserWarning:
            return
    warnings.filterwarnings("ignore", category=UserWarning, module=_QUIET_MODULES)


# Pillow's readers of EXIF blocks and of the list of further pictures in a JPEG.
_QUIET_MODULES = r"PIL\.(Tiff|Jpeg)ImagePlugin"


def _to_rgb(picture: Image.Image) -> Image.Image:
    """Return any picture as RGB."""
    from PIL import Image

    if picture.mode.startswith("I"):  # 16-bit grey, which convert() would clip at 255
        grey = np.asarray(picture).astype(np.int64) >> 8
        return Image.fromarray(np.clip(grey, 0, 255).astype(np.uint8)).convert("RGB")
    if picture.mode == "P" and "transparency" in picture.info:
        return picture.convert("RGBA").convert("RGB")  # the direct way makes Pillow warn
    return picture.convert("RGB")
