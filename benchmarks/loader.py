"""Pictures per second from JPEG files, and from shards, to float32 batches of 3×224×224.

From files (500×375, ImageNet's average) every contender resizes the shorter side to 256, crops and
mirrors at random, and normalizes: minidl's and torchvision's data sets and loaders with one worker
for each thread, and a loop over Pillow and NumPy in one thread.

minidl also reads shards that ``examples/prepare_imagenet.py`` makes from the same files: "shards"
gives the same numbers with the same number of workers; "shards, one core" gives batches of bytes in
the caller's own thread, the loader's cost if a GPU converts them. The files are few and in the
system's cache, so the disk is not measured.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from harness import HERE, Entry, Report, Settings, Team, Work, available, library, table
from publish import main

SIZE, RESIZED, BATCH = 224, 256, 128
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)

#: Epochs in a round of a fast contender.
SHARD_EPOCHS = 4


def make(contender: str, folder: str) -> Work:
    if contender == "pillow":
        return Work({"epoch": _pillow(folder)})
    workers = int(os.environ["BENCHMARK_THREADS"])
    if contender.startswith("shards"):
        return Work({"epochs": _shards(folder, 0 if contender == "shards, one core" else workers)})
    return Work({"epoch": _loader(contender, folder, workers)})


def _shards(folder: str, workers: int) -> Callable[[], None]:
    minidl = library("minidl")
    from minidl.data import DataLoader, DeviceBatches
    from minidl.vision.datasets import Shards
    from minidl.vision.transforms.presets import alexnet_finish, alexnet_training

    data = Shards(Path(folder, "shards"), transform=alexnet_training(SIZE, "normalized", raw=True))
    loader = DataLoader(
        data, BATCH, shuffle=True, num_workers=workers, persistent_workers=workers > 0
    )
    if workers == 0:
        minidl.set_num_threads(1)
    batches = DeviceBatches(loader, "cpu", alexnet_finish("normalized") if workers else None)

    def epochs() -> None:
        for _ in range(SHARD_EPOCHS):
            for images, _ in batches:
                pixels = images if workers else images.pixels
                assert pixels.shape[1:] == (3, SIZE, SIZE)

    return epochs


def _loader(contender: str, folder: str, workers: int) -> Callable[[], None]:
    library(contender)
    if contender == "minidl":
        from minidl.data import DataLoader
        from minidl.vision import transforms
        from minidl.vision.datasets import ImageFolder
    else:
        from torch.utils.data import DataLoader
        from torchvision import transforms
        from torchvision.datasets import ImageFolder
    transform = transforms.Compose(
        [
            transforms.Resize(RESIZED),
            transforms.RandomCrop(SIZE),
            transforms.RandomHorizontalFlip(),
            transforms.ToTensor(),
            transforms.Normalize(MEAN, DEVIATION),
        ]
    )
    loader: Any = DataLoader(
        ImageFolder(os.path.join(folder, "train"), transform),
        batch_size=BATCH,
        shuffle=True,
        num_workers=workers,
        persistent_workers=True,
    )

    def epoch() -> None:
        for images, _ in loader:
            assert images.shape[1:] == (3, SIZE, SIZE)

    return epoch


def _pillow(folder: str) -> Callable[[], None]:
    import numpy as np
    from PIL import Image, ImageOps

    files = sorted(Path(folder, "train").glob("*/*.jpg"))
    rng = np.random.default_rng(0)
    mean, deviation = np.array(MEAN, np.float32), np.array(DEVIATION, np.float32)

    def picture(path: Path) -> Any:
        image = Image.open(path).convert("RGB")
        scale = RESIZED / min(image.size)
        width, height = (round(length * scale) for length in image.size)
        image = image.resize((width, height), Image.Resampling.BILINEAR)
        left, top = rng.integers(0, width - SIZE + 1), rng.integers(0, height - SIZE + 1)
        image = image.crop((left, top, left + SIZE, top + SIZE))
        if rng.random() < 0.5:
            image = ImageOps.mirror(image)
        values = np.asarray(image, np.float32) / np.float32(255)
        return ((values - mean) / deviation).transpose(2, 0, 1)

    def epoch() -> None:
        order = [files[i] for i in rng.permutation(len(files))]
        for start in range(0, len(order), BATCH):
            np.stack([picture(path) for path in order[start : start + BATCH]])

    return epoch


def draw(folder: Path, count: int) -> None:
    """Write JPEG files as detailed as photographs: noise of several scales, in two classes."""
    import numpy as np
    from PIL import Image

    rng = np.random.default_rng(0)
    for number in range(count):
        pixels = np.zeros((375, 500, 3), np.float32)
        for cell, strength in ((100, 60), (20, 30), (5, 12), (1, 4)):
            coarse = rng.normal(0, strength, (375 // cell + 1, 500 // cell + 1, 3))
            pixels += coarse.repeat(cell, 0).repeat(cell, 1)[:375, :500]
        picture = Image.fromarray((pixels + 128).clip(0, 255).astype(np.uint8))
        path = folder / "train" / str(number % 2) / f"{number}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        picture.save(path, quality=90)


def prepare(folder: str) -> None:
    """Make shards from the files."""
    program = [sys.executable, str(HERE.parent / "examples" / "prepare_imagenet.py")]
    arguments = ["--data", folder, "--out", os.path.join(folder, "shards")]
    paths = os.pathsep.join(filter(None, [str(HERE.parent), os.environ.get("PYTHONPATH")]))
    environment = os.environ | {"PYTHONPATH": paths}
    subprocess.run([*program, *arguments], check=True, capture_output=True, env=environment)


def measure(settings: Settings) -> Report:
    """Read a folder of pictures repeatedly."""
    torch, notes = available(settings, ("torch",))
    if torch and importlib.util.find_spec("torchvision") is None:
        torch, notes = [], ["torchvision is omitted: it is not installed."]
    report = Report("Loader", notes)
    count = settings.pick(1024, 512, 4)
    with tempfile.TemporaryDirectory() as folder:
        draw(Path(folder), count)
        prepare(folder)
        entries = {
            {"torch": "torchvision"}.get(name, name): Entry("loader", name, {"folder": folder})
            for name in ("minidl", "pillow", *torch, "shards", "shards, one core")
        }
        with Team(settings) as team:
            results = team.compete(entries, warm_up=1)
            report.notes += team.notes
    rates = {
        name: count * (SHARD_EPOCHS if name.startswith("shards") else 1) / result.seconds()
        for name, result in results.items()
    }
    rows = [
        [name, f"{rates[name]:.0f}", f"{r.spread():.0%}", f"{rates[name] / rates['minidl']:.2f}×"]
        for name, r in results.items()
    ]
    header = ("contender", "pictures/s", "spread", "of minidl's from files")
    report.tables.append(table(header, rows))
    for name in ("torchvision", "pillow"):
        if name in rates:
            figure = f"{rates['minidl'] / rates[name]:.2f}×"
            aim = "≥ 1.6×" if name == "torchvision" else ""
            report.figures.append((f"loader: files, against {name}", figure, aim))
    if "torchvision" in rates:
        figure = f"{rates['shards'] / rates['torchvision']:.1f}×"
        report.figures.append(("loader: shards, against torchvision's files", figure, "10×"))
    figure = f"{rates['shards, one core']:.0f}"
    report.figures.append(("loader: shards, pictures/s per core", figure, "3000"))
    report.data = {name: result.as_json() for name, result in results.items()}
    return report


if __name__ == "__main__":
    main(measure, __doc__)
