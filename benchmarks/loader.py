"""Pictures a second from JPEG files to float32 batches of 3×224×224.

Every contender reads the same files (500×375, as ImageNet's are on average), resizes the shorter
side to 256, crops and mirrors at random, and normalizes: minidl's and torchvision's data sets and
loaders with one worker for each thread, and a loop over Pillow and NumPy in one thread.
"""

from __future__ import annotations

import importlib.util
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from harness import Entry, Report, Settings, Team, Work, library, main, table, torch_contenders

SIZE, RESIZED, BATCH = 224, 256, 32
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def make(contender: str, folder: str) -> Work:
    epoch = _pillow(folder) if contender == "pillow" else _loader(contender, folder)
    return Work({"epoch": epoch})


def _loader(contender: str, folder: str) -> Callable[[], None]:
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
        ImageFolder(folder, transform),
        batch_size=BATCH,
        shuffle=True,
        num_workers=int(os.environ["BENCHMARK_THREADS"]),
        persistent_workers=True,
    )

    def epoch() -> None:
        for images, _ in loader:
            assert images.shape[1:] == (3, SIZE, SIZE)

    return epoch


def _pillow(folder: str) -> Callable[[], None]:
    import numpy as np
    from PIL import Image, ImageOps

    files = sorted(Path(folder).glob("*/*.jpg"))
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
    """Write JPEG files with the detail of photographs: noise of several scales, in two classes."""
    import numpy as np
    from PIL import Image

    rng = np.random.default_rng(0)
    for number in range(count):
        pixels = np.zeros((375, 500, 3), np.float32)
        for cell, strength in ((100, 60), (20, 30), (5, 12), (1, 4)):
            coarse = rng.normal(0, strength, (375 // cell + 1, 500 // cell + 1, 3))
            pixels += coarse.repeat(cell, 0).repeat(cell, 1)[:375, :500]
        picture = Image.fromarray((pixels + 128).clip(0, 255).astype(np.uint8))
        (folder / str(number % 2)).mkdir(exist_ok=True)
        picture.save(folder / str(number % 2) / f"{number}.jpg", quality=90)


def measure(settings: Settings) -> Report:
    """Read a folder of pictures over and over."""
    torch, notes = torch_contenders(settings, ("torch",))
    if torch and importlib.util.find_spec("torchvision") is None:
        torch, notes = [], ["torchvision is left out: it is not installed."]
    report = Report("Loader", notes)
    count = settings.pick(512, 128, 4)
    with tempfile.TemporaryDirectory() as folder:
        draw(Path(folder), count)
        entries = {
            {"torch": "torchvision"}.get(name, name): Entry("loader", name, {"folder": folder})
            for name in ("minidl", "pillow", *torch)
        }
        with Team(settings) as team:
            results = team.compete(entries, warm_up=1)
            report.notes += team.notes
    own = results["minidl"].seconds()
    rows = [
        [name, f"{count / r.seconds():.0f}", f"{r.spread():.0%}", f"{r.seconds() / own:.2f}×"]
        for name, r in results.items()
    ]
    header = ("contender", "pictures/s", "spread", "minidl is faster by")
    report.tables.append(table(header, rows))
    for name in results:
        if name != "minidl":
            ratio = results[name].seconds() / own
            report.figures.append((f"loader: against {name}", f"{ratio:.2f}×", ""))
    report.data = {name: result.as_json() for name, result in results.items()}
    return report


if __name__ == "__main__":
    main(measure, __doc__)
