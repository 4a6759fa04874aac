"""Shapes: pictures that the library draws itself, for trying out training without a download.

Each picture shows one textured object on a cluttered background; the class is the object's outline
(a heart, a ring, a star, ...). Everything else is drawn independently of the class: colors,
textures, lightness, position, size, rotation, mirroring and background. So only the shape reveals
the class, while the pictures vary as photographs do.

The pictures are JPEG files of varied sizes in an :class:`~minidl.vision.datasets.ImageFolder`, so a
run on them exercises the same code as a run on ImageNet: scanning, decoding, resizing, cropping.

A picture is made in four steps, each a function below:

1. ``_background``: a canvas of blobs and lines, a gradient of light, noise of several scales,
   patches of texture. Its lightness stays within ``BACKGROUND_LIGHTNESS``.
2. ``_outline``: the class's polygon, stretched, mirrored, rotated, scaled and positioned.
3. ``_masks``: the polygon as coverage in [0, 1], drawn ``_SUPERSAMPLING`` times larger and shrunk.
4. ``draw``: the object's two colors, mixed by a texture, laid over the background through the mask.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ...errors import ArgumentError, DataError
from ...files import cache_folder
from ...random import stream
from .folder import ImageFolder, pil_loader

if TYPE_CHECKING:
    from PIL import Image

VERSION = 1  # part of the folder's name: raise it whenever the pictures change

TRAIN_PER_CLASS = 400
VAL_PER_CLASS = 50

# How hard the pictures are. Lengths are fractions of the picture's shorter side, lightness is in
# [0, 1].
SHORT_SIDE = (248, 280)  # pixels
LONGEST_ASPECT = 1.3  # longer side / shorter side
OBJECT_SIZE = (0.55, 0.78)  # the object's longer side
OBJECT_ROTATION = 20.0  # degrees, to either side
OBJECT_STRETCH = 1.15  # width against height, at most, either way
MARGIN = 0.05  # between the object and the border of the central square
LIGHT_ON_DARK = 1.0  # fraction of objects that are lighter than their background
BACKGROUND_LIGHTNESS = (0.12, 0.32)  # of a dark background; a light one has 1 minus this
CONTRAST = (0.40, 0.55)  # between the object's lightness and its background's
CLUTTER = (4, 12)  # number of blobs and lines in the background
CLUTTER_STRENGTH = 0.08  # largest difference from the background's lightness
GRADIENT_STRENGTH = 0.08
NOISE_STRENGTH = 0.035  # standard deviation of each scale of noise
TEXTURE_STRENGTH = 0.15  # largest difference between the lightness of the object's two colors
JPEG_QUALITY = 88

_SUPERSAMPLING = 3
_LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float32)
_NOISE_CELLS = (6, 24, 90)  # cells along a side, from clouds to grain
_ABANDONED_AFTER = 3600.0  # seconds after which an unfinished folder counts as abandoned


# -------------------------------------------------------------------------------------- the classes
def _circle(radius: float = 1.0, start: float = 0.0, stop: float = 360.0) -> np.ndarray:
    angle = np.radians(np.linspace(start, stop, 72))
    return radius * np.stack([np.cos(angle), np.sin(angle)], axis=1)


def _star() -> np.ndarray:
    angle = np.radians(-90 + 36 * np.arange(10))
    radius = np.where(np.arange(10) % 2 == 0, 1.0, 0.42)
    return radius[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)


def _cross() -> np.ndarray:
    corner = np.array([(-0.3, -1.0), (0.3, -1.0), (0.3, -0.3)])
    quarter = np.array([(0.0, 1.0), (-1.0, 0.0)])  # a row vector times this turns by 90 degrees
    return np.concatenate([corner @ np.linalg.matrix_power(quarter, k) for k in range(4)])


def _crescent() -> np.ndarray:
    # The unit circle without a circle of radius 0.85 around (0.45, 0); they meet at (x, +-y).
    shift, radius = 0.45, 0.85
    x = (1 - radius**2 + shift**2) / (2 * shift)
    y = np.sqrt(1 - x**2)
    outer = np.degrees(np.arctan2(y, x))
    inner = np.degrees(np.arctan2(y, x - shift))
    cut = _circle(radius, 360 - inner, inner) + np.array((shift, 0.0))
    return np.concatenate([_circle(1.0, outer, 360 - outer), cut])


def _heart() -> np.ndarray:
    t = np.linspace(0, 2 * np.pi, 72)
    x = 16 * np.sin(t) ** 3
    y = 13 * np.cos(t) - 5 * np.cos(2 * t) - 2 * np.cos(3 * t) - np.cos(4 * t)
    return np.stack([x, -y], axis=1)


# Outline (K, 2) of x, y with y downwards, at any scale, and the hole's outline or None.
_OUTLINES: dict[str, tuple[np.ndarray, np.ndarray | None]] = {
    "arrow": (
        np.array([(-1, -0.3), (0, -0.3), (0, -0.8), (1, 0), (0, 0.8), (0, 0.3), (-1, 0.3)]),
        None,
    ),
    "crescent": (_crescent(), None),
    "cross": (_cross(), None),
    "disk": (_circle(), None),
    "heart": (_heart(), None),
    "hourglass": (
        np.array([(-0.8, -1), (0.8, -1), (0.15, 0), (0.8, 1), (-0.8, 1), (-0.15, 0)]),
        None,
    ),
    "ring": (_circle(), _circle(0.55)),
    "square": (np.array([(-1.0, -1.0), (1.0, -1.0), (1.0, 1.0), (-1.0, 1.0)]), None),
    "star": (_star(), None),
    "triangle": (np.array([(0.0, -1.0), (1.0, 0.8), (-1.0, 0.8)]), None),
}
CLASSES: tuple[str, ...] = tuple(_OUTLINES)


# ------------------------------------------------------------------------------ drawing one picture
def _color(rng: np.random.Generator, lightness: float) -> np.ndarray:
    """Return a random color (3,) of the given lightness, as saturated as possible."""
    color = rng.random(3, dtype=np.float32)
    tint = color - color @ _LUMA  # has lightness 0
    room = np.where(tint > 0, 1 - lightness, lightness) / np.maximum(np.abs(tint), 1e-6)
    return np.float32(lightness) + np.float32(np.clip(room.min(), 0, 1)) * tint


def _texture(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Return one of five patterns, (height, width): plain, stripes, dots, checks or noise."""
    kind = rng.integers(5)
    if kind == 0:
        return np.zeros((height, width), dtype=np.float32)
    if kind == 4:
        return np.clip(0.5 + _noise(rng, height, width, int(rng.integers(10, 30))), 0, 1)
    frequency = np.float32(2 * np.pi / rng.uniform(12, 40))
    angle = rng.uniform(0, np.pi)
    cos, sin = np.float32(np.cos(angle)), np.float32(np.sin(angle))
    x = np.arange(width, dtype=np.float32)[None, :] * frequency
    y = np.arange(height, dtype=np.float32)[:, None] * frequency
    wave = np.sin(cos * x + sin * y)
    if kind >= 2:  # dots are where both waves are high, checks where they agree
        across = np.sin(cos * y - sin * x)
        wave = wave + across - 0.6 if kind == 2 else wave * across
    return np.clip(0.5 + 2.5 * wave, 0, 1)  # steep: almost black and white, but antialiased


def _noise(rng: np.random.Generator, height: int, width: int, cells: int) -> np.ndarray:
    """Return smooth noise (height, width), with unit deviation at ``cells`` x ``cells`` knots."""
    from PIL import Image

    knots = Image.fromarray(rng.standard_normal((cells, cells), dtype=np.float32))
    return np.asarray(knots.resize((width, height), Image.Resampling.BILINEAR))


def _background(rng: np.random.Generator, height: int, width: int, lightness: float) -> np.ndarray:
    """Return a cluttered background (height, width, 3) with about the given lightness."""
    from PIL import Image, ImageDraw

    def clutter_color() -> tuple[int, ...]:
        near = lightness + rng.uniform(-CLUTTER_STRENGTH, CLUTTER_STRENGTH)
        return tuple(int(255 * channel) for channel in _color(rng, near))

    size = np.array([width, height])
    canvas = Image.new("RGB", (width, height), clutter_color())
    patch = Image.new("L", (width, height))  # where a texture will lie
    pen, patch_pen = ImageDraw.Draw(canvas), ImageDraw.Draw(patch)
    for _ in range(int(rng.integers(CLUTTER[0], CLUTTER[1] + 1))):
        kind = rng.integers(3)
        if kind == 0:
            ends = rng.uniform(-0.1, 1.1, (2, 2)) * size
            pen.line(ends.ravel().tolist(), fill=clutter_color(), width=int(rng.integers(2, 9)))
            continue
        # A blob: an irregular polygon around a center.
        angle = np.sort(rng.uniform(0, 2 * np.pi, 7))
        radius = rng.uniform(0.04, 0.22, 7) * width
        blob = rng.uniform(0, 1, 2) * size + radius[:, None] * np.stack(
            [np.cos(angle), np.sin(angle)], axis=1
        )
        if kind == 1:
            pen.polygon(blob.ravel().tolist(), fill=clutter_color())
        else:
            patch_pen.polygon(blob.ravel().tolist(), fill=255)

    light = np.zeros((height, width), dtype=np.float32)
    for cells in _NOISE_CELLS:
        light += np.float32(NOISE_STRENGTH) * _noise(rng, height, width, cells)
    slope = rng.uniform(-GRADIENT_STRENGTH, GRADIENT_STRENGTH, 2)
    light += np.linspace(-slope[0], slope[0], width, dtype=np.float32)[None, :]
    light += np.linspace(-slope[1], slope[1], height, dtype=np.float32)[:, None]
    pattern = np.float32(2 * CLUTTER_STRENGTH) * (_texture(rng, height, width) - np.float32(0.5))
    light += pattern * (np.asarray(patch, dtype=np.float32) / 255)
    return np.asarray(canvas, dtype=np.float32) / 255 + light[:, :, None]


def _outline(
    rng: np.random.Generator, name: str, height: int, width: int
) -> tuple[np.ndarray, np.ndarray | None]:
    """Return the outline of an object and of its hole, in pixels, within the central square."""
    outer, hole = _OUTLINES[name]
    angle = np.radians(rng.uniform(-OBJECT_ROTATION, OBJECT_ROTATION))
    stretch = OBJECT_STRETCH ** rng.uniform(-0.5, 0.5)
    mirror = rng.choice([-1.0, 1.0])
    cos, sin = np.cos(angle), np.sin(angle)
    turn = np.diag([mirror * stretch, 1 / stretch]) @ np.array([(cos, sin), (-sin, cos)])
    outer = outer @ turn
    low, high = outer.min(axis=0), outer.max(axis=0)

    short = min(height, width)
    scale = short * rng.uniform(*OBJECT_SIZE) / (high - low).max()
    room = np.maximum(short * (1 - 2 * MARGIN) - scale * (high - low), 0)
    center = np.array([width, height]) / 2 + rng.uniform(-0.5, 0.5, 2) * room
    offset = center - scale * (low + high) / 2
    return scale * outer + offset, None if hole is None else scale * (hole @ turn) + offset


def _masks(
    outer: np.ndarray, hole: np.ndarray | None, height: int, width: int, border: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return coverage in [0, 1] of the object and of its border line, each (height, width)."""
    from PIL import Image, ImageDraw

    large = (width * _SUPERSAMPLING, height * _SUPERSAMPLING)
    body, line = Image.new("L", large), Image.new("L", large)
    for points, fill in ((outer, 255), (hole, 0)):
        if points is not None:
            corners = (points * _SUPERSAMPLING).ravel().tolist()
            ImageDraw.Draw(body).polygon(corners, fill=fill)
            if border:
                closed = corners + corners[:4]  # the first side twice, for a join at its end
                ImageDraw.Draw(line).line(closed, 255, border * _SUPERSAMPLING, joint="curve")
    small = [np.asarray(m.reduce(_SUPERSAMPLING), dtype=np.float32) / 255 for m in (body, line)]
    return small[0], small[1]


def draw(name: str, rng: np.random.Generator) -> Image.Image:
    """Draw one picture.

    Parameters
    ----------
    name : str
        The class, one of :data:`CLASSES`.
    rng : numpy.random.Generator
        Source of all variation.

    Returns
    -------
    PIL.Image.Image
        RGB; the shorter side is within ``SHORT_SIDE``.

    Examples
    --------
    >>> from minidl.random import stream
    >>> draw("heart", stream(0, "example")).mode
    'RGB'
    """
    from PIL import Image

    short = int(rng.integers(SHORT_SIDE[0], SHORT_SIDE[1] + 1))
    longer = int(short * rng.uniform(1, LONGEST_ASPECT))
    height, width = (short, longer) if rng.random() < 0.5 else (longer, short)

    lightness = rng.uniform(*BACKGROUND_LIGHTNESS)
    object_lightness = lightness + rng.uniform(*CONTRAST)
    # Only away from the background: the texture must not blur the outline.
    second_lightness = min(1.0, object_lightness + rng.uniform(0, TEXTURE_STRENGTH))
    border_lightness = min(1.0, object_lightness + rng.uniform(0, TEXTURE_STRENGTH))
    if rng.random() >= LIGHT_ON_DARK:
        lightness, object_lightness = 1 - lightness, 1 - object_lightness
        second_lightness, border_lightness = 1 - second_lightness, 1 - border_lightness

    picture = _background(rng, height, width, lightness)
    outer, hole = _outline(rng, name, height, width)
    body, line = _masks(outer, hole, height, width, border=int(rng.integers(0, 5)))
    first, second = _color(rng, object_lightness), _color(rng, second_lightness)
    paint = first + _texture(rng, height, width)[:, :, None] * (second - first)
    picture += body[:, :, None] * (paint - picture)
    picture += line[:, :, None] * (_color(rng, border_lightness) - picture)
    picture *= 255
    return Image.fromarray(np.clip(picture, 0, 255, out=picture).astype(np.uint8))


# ------------------------------------------------------------------------------------ the whole set
def _manifest(seed: int, train_per_class: int, val_per_class: int) -> dict[str, Any]:
    """Return everything that the pictures depend on, as JSON returns it."""
    return {
        "data_set": "minidl shapes",
        "version": VERSION,
        "seed": seed,
        "classes": list(CLASSES),
        "per_class": {"train": train_per_class, "val": val_per_class},
        "generator": {
            "short_side": list(SHORT_SIDE),
            "longest_aspect": LONGEST_ASPECT,
            "object_size": list(OBJECT_SIZE),
            "object_rotation": OBJECT_ROTATION,
            "object_stretch": OBJECT_STRETCH,
            "margin": MARGIN,
            "light_on_dark": LIGHT_ON_DARK,
            "background_lightness": list(BACKGROUND_LIGHTNESS),
            "contrast": list(CONTRAST),
            "clutter": list(CLUTTER),
            "clutter_strength": CLUTTER_STRENGTH,
            "gradient_strength": GRADIENT_STRENGTH,
            "noise_strength": NOISE_STRENGTH,
            "texture_strength": TEXTURE_STRENGTH,
            "jpeg_quality": JPEG_QUALITY,
        },
    }


def _check_manifest(root: Path, wanted: dict[str, Any]) -> None:
    """Raise unless ``root`` holds a complete set drawn with the ``wanted`` parameters."""
    path = root / "manifest.json"
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(
            f"{root} is not a folder of Shapes: its manifest.json can't be read ({error}); "
            "pass a root that does not exist or is empty to draw the pictures there"
        ) from None
    if found != wanted:
        keys = set(wanted) | set(found if isinstance(found, dict) else {})
        differing = sorted(
            key for key in keys if not isinstance(found, dict) or found.get(key) != wanted.get(key)
        )
        raise DataError(
            f"the Shapes in {root} were drawn with another {', '.join(differing)} than requested "
            "(see its manifest.json); delete the folder to draw them again, or pass another root"
        )


def _remove_abandoned(parent: Path, prefix: str) -> None:
    """Remove the unfinished folders of processes that were killed long ago."""
    for leftover in parent.glob(f"{prefix}*"):
        try:
            if time.time() - leftover.stat().st_mtime > _ABANDONED_AFTER:
                shutil.rmtree(leftover, ignore_errors=True)
        except OSError:
            continue  # another process was faster


def _write(folder: Path, manifest: dict[str, Any]) -> None:
    """Draw all pictures into ``folder``, which exists and is empty."""
    from concurrent.futures import ThreadPoolExecutor

    from ...training.progress import Bar

    tasks = []
    for split, per_class in manifest["per_class"].items():
        for name in CLASSES:
            (folder / split / name).mkdir(parents=True)
        tasks += [(split, index) for index in range(per_class * len(CLASSES))]

    def write_one(task: tuple[str, int]) -> None:
        split, index = task
        number, label = divmod(index, len(CLASSES))
        picture = draw(CLASSES[label], stream(manifest["seed"], "shapes", split, index))
        # Files are named by number, so a picture has the same name for all counts.
        path = folder / split / CLASSES[label] / f"{number:04d}.jpg"
        picture.save(path, format="JPEG", quality=JPEG_QUALITY)

    with (
        ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool,
        Bar(total=len(tasks), desc="drawing Shapes", unit=" pictures") as bar,
    ):
        try:
            for _ in pool.map(write_one, tasks):
                bar.update()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    text = json.dumps(manifest, indent=2) + "\n"
    (folder / "manifest.json").write_text(text, encoding="utf-8")


def _generate(root: Path, manifest: dict[str, Any]) -> None:
    """Draw the set beside ``root``, and rename it to ``root`` when it is complete.

    If several processes do so at once, the first to finish wins and the others drop theirs.
    """
    root.parent.mkdir(parents=True, exist_ok=True)
    prefix = f".{root.name}.unfinished-"
    _remove_abandoned(root.parent, prefix)
    unfinished = root.parent / f"{prefix}{os.getpid()}-{secrets.token_hex(4)}"
    unfinished.mkdir()
    try:
        _write(unfinished, manifest)
        try:
            unfinished.rename(root)
        except OSError:
            if not (root / "manifest.json").exists():
                raise
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


class Shapes(ImageFolder):
    """Ten classes of drawn objects on cluttered backgrounds, for trying out training.

    The first use draws the pictures (4,500 JPEG files, about 70 MB, within half a minute); later
    uses find them in the user's cache.

    Parameters
    ----------
    root : str or path, optional
        Folder of the pictures, which are drawn there if it doesn't exist or is empty. Default:
        ``shapes-v1`` in ``$MINIDL_CACHE``, otherwise in ``$XDG_CACHE_HOME/minidl`` or
        ``~/.cache/minidl``.
    split : {"train", "val"}
        Training or validation pictures.
    transform : callable, optional
        Applied to the PIL picture.
    target_transform : callable, optional
        Applied to the label.
    train_per_class, val_per_class : int
        Number of pictures of each class. A picture has the same number for all counts.
    seed : int, default 0
        Determines every picture.

    Attributes
    ----------
    classes : list of str
        arrow, crescent, cross, disk, heart, hourglass, ring, square, star, triangle.
    samples, targets, class_to_idx
        As in :class:`ImageFolder`.

    Raises
    ------
    ArgumentError
        ``split`` is neither ``"train"`` nor ``"val"``, or a count is not positive.
    DataError
        ``root`` is incomplete, or holds something else or Shapes drawn with other parameters.

    Examples
    --------
    >>> import tempfile
    >>> folder = tempfile.mkdtemp()
    >>> val = Shapes(folder, split="val", train_per_class=1, val_per_class=2)
    >>> len(val), val.classes[4]
    (20, 'heart')
    >>> picture, label = val[8]
    >>> picture.mode, label
    ('RGB', 4)
    """

    def __init__(
        self,
        root: str | os.PathLike[str] | None = None,
        split: str = "train",
        transform: Callable[[Any], Any] | None = None,
        target_transform: Callable[[Any], Any] | None = None,
        *,
        train_per_class: int = TRAIN_PER_CLASS,
        val_per_class: int = VAL_PER_CLASS,
        seed: int = 0,
    ) -> None:
        if split not in ("train", "val"):
            raise ArgumentError(f"split must be 'train' or 'val', got {split!r}")
        per_class = {"train": train_per_class, "val": val_per_class}
        for key, count in per_class.items():
            if count < 1:
                raise ArgumentError(f"{key}_per_class must be at least 1, got {count}")
        if root is None:
            name = f"shapes-v{VERSION}"
            if (train_per_class, val_per_class, seed) != (TRAIN_PER_CLASS, VAL_PER_CLASS, 0):
                name += f"-{train_per_class}x{val_per_class}-seed{seed}"
            folder = cache_folder() / name
        else:
            folder = Path(root)
        manifest = _manifest(seed, train_per_class, val_per_class)
        if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
            _generate(folder, manifest)
        _check_manifest(folder, manifest)
        super().__init__(folder / split, transform, target_transform, loader=pil_loader)
        expected = per_class[split] * len(CLASSES)
        if self.classes != list(CLASSES) or len(self) != expected:
            raise DataError(
                f"{folder / split} holds {len(self)} pictures of {len(self.classes)} classes, "
                f"expected {expected} of {len(CLASSES)}; delete {folder} to draw them again"
            )
        self.split = split
