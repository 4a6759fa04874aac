"""Train the AlexNet paper's CIFAR-10 networks (cuda-convnet's), or a small AlexNet, on CIFAR-10.

    python examples/cifar10.py --data DIR --variant 80sec

DIR holds CIFAR-10 as published (cifar-10-batches-py/) or as pictures (train/<class>/<number>.jpg).
Without test pictures, 5,000 of the 50,000 training pictures are held out for validation.

All pictures are in memory as bytes. A "sample" of the loader is a whole batch of them, which is
cropped, mirrored and centered on the network's device.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

import minidl
from minidl.data import (
    BatchSampler,
    DataLoader,
    Dataset,
    DeviceBatches,
    RandomSampler,
    SequentialSampler,
    sample_stream,
)
from minidl.errors import DataError
from minidl.nn.functional import cross_entropy
from minidl.optim.lr_scheduler import CosineAnnealingLR
from minidl.training import Interruption, Progress, RunLog, new_run, run_program, set_up_device
from minidl.training.command_line import add_device_options
from minidl.vision import figures
from minidl.vision.datasets import CIFAR10
from minidl.vision.datasets.opening import hold_out
from minidl.vision.metrics import RunningMeans, evaluate
from minidl.vision.models import AlexNet, CudaConvnet, alexnet, cuda_convnet
from minidl.vision.transforms import RawPicture, RawToInput


@dataclass(frozen=True)
class Recipe:
    """Settings for one network; biases have twice the weights' rate, and no decay."""

    decay: dict[str, float]  # of the weights, by layer ("conv1") or kind of layer ("conv")
    lr: float = 0.002  # initial rate of the weights; it falls to 0 as a half cosine
    epochs: int = 14
    init: str | None = None  # the network's own
    shift: int = 0  # largest random shift in pixels, for networks that see the whole picture


# The decays come from cuda-convnet's layer files. Those train at a constant rate of 0.001, divided
# by 10 twice, by hand; the cosine needs fewer epochs.
RECIPES = {
    "80sec": Recipe(decay={"conv": 0.004, "fc": 0.03}),
    "18pct": Recipe(decay={"conv": 0.004, "fc10": 1.0}),
    "19pct": Recipe(decay={"conv": 0.004, "fc10": 3.0}),
    "13pct": Recipe(decay={"conv": 0.0, "local": 0.004, "fc10": 0.004}, lr=0.001, epochs=60),
    "11pct": Recipe(decay={"conv": 0.0, "local": 0.004, "fc10": 0.01}, lr=0.001, epochs=60),
    "cifar": Recipe(decay={"conv": 5e-4, "fc": 5e-4}, lr=0.01, init="he", shift=4),
}
BATCH_SIZE = 128
MOMENTUM = 0.9
READ_EVERY = 100  # steps between reading the losses, which waits for a GPU
DEVIATION = 63.0  # of CIFAR-10's pixels, for networks whose inputs should have deviation 1


class Batches(Dataset):
    """Batches of pictures from one array, indexed with the indices of a whole batch.

    Parameters
    ----------
    pixels : ndarray of uint8, shape (N, 32, 32, 3)
    labels : ndarray of int64, shape (N,)
    room : int
        Size of the pictures minus size of the network's input, a crop.
    shift : int
        Number of pixels by which a crop may extend beyond the picture, where there are zeros.
    augment : bool
        Crop and mirror at random.
    """

    def __init__(
        self,
        pixels: np.ndarray,
        labels: np.ndarray,
        room: int,
        shift: int,
        augment: bool,
    ) -> None:
        self.pixels, self.labels = pixels, labels
        self.room, self.shift, self.augment = room, shift, augment

    def __len__(self) -> int:
        return len(self.pixels)

    def __getitem__(self, indices: Sequence[int]) -> tuple[RawPicture, minidl.Tensor]:
        n = len(indices)
        place = np.full((n, 3), self.room // 2, np.int32)  # top, left, mirrored
        place[:, 2] = 0
        if self.augment:
            rng = sample_stream()
            corners = rng.integers(0, self.room + 2 * self.shift + 1, (2, n)) - self.shift
            place[:, 0], place[:, 1] = corners
            place[:, 2] = rng.random(n) < 0.5
        pixels = self.pixels[indices].transpose(0, 3, 1, 2)
        parts = pixels, place, np.zeros((n, pixels.shape[1]), np.float32)
        return RawPicture(*map(minidl.from_numpy, parts)), minidl.from_numpy(self.labels[indices])


def read_pictures(folder: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return pixels and labels to train with, and pixels and labels to validate with."""
    train = CIFAR10(folder, train=True)
    pixels, labels = train.data, np.asarray(train.targets, dtype=np.int64)
    try:
        test = CIFAR10(folder, train=False)
    except DataError:
        kept, held_out = hold_out(labels, every=10)
        print(f"no test pictures in {folder}: {len(held_out):,} training pictures are held out")
        return pixels[kept], labels[kept], pixels[held_out], labels[held_out]
    return pixels, labels, test.data, np.asarray(test.targets, dtype=np.int64)


def loader(dataset: Batches, shuffle: bool, pin: bool) -> DataLoader:
    """Return a loader that prepares batches in a worker while the network computes."""
    order = RandomSampler(dataset) if shuffle else SequentialSampler(dataset)
    batches = BatchSampler(order, BATCH_SIZE, drop_last=shuffle)
    return DataLoader(dataset, sampler=batches, batch_size=None, num_workers=1, pin_memory=pin)


def make_model(variant: str, recipe: Recipe, classes: int) -> AlexNet | CudaConvnet:
    """Make the network that ``--variant`` names."""
    if variant == "cifar":
        return alexnet("cifar", classes, init=recipe.init)
    return cuda_convnet(variant, classes, init=recipe.init)


def make_optimizer(model: AlexNet | CudaConvnet, recipe: Recipe) -> minidl.optim.SGD:
    """Return SGD with one parameter group for each layer's weights, and one for all biases."""
    biases, groups = [], []
    for name, layer in model.named_rows().items():
        decay = recipe.decay.get(name, recipe.decay.get(name.rstrip("0123456789"), 0.0))
        groups.append({"params": [layer.weight], "weight_decay": decay})
        biases.append(layer.bias)
    groups.append({"params": biases, "lr": 2 * recipe.lr})
    return minidl.optim.SGD(groups, recipe.lr, MOMENTUM, rate_in_velocity=True)


def train(interruption: Interruption) -> int:
    """Train, print the error after each epoch, and return the exit status."""
    args = parse()
    if args.data is None:
        raise DataError(
            f"--data DIR is required: unpack {CIFAR10.url} and name the folder that contains "
            f"{CIFAR10.base_folder}/, or one with pictures at train/<class>/<number>.jpg"
        )
    recipe = RECIPES[args.variant]
    output = Path(new_run(args.output, "runs/cifar10"))
    recipe = replace(recipe, lr=args.lr or recipe.lr, epochs=args.epochs or recipe.epochs)
    device = set_up_device(vars(args))
    minidl.manual_seed(args.seed)
    pixels, labels, held_pixels, held_labels = read_pictures(args.data)
    model = make_model(args.variant, recipe, int(labels.max()) + 1).to(device)
    mean = pixels.mean(axis=0, dtype=np.float64).astype(np.float32)
    scale = 1.0 if model.input_scale == "pixels" else DEVIATION
    size, pin = model.input_size[-1], device.type == "gpu"
    to_input = RawToInput(mean.transpose(2, 0, 1), scale, size=size)
    room = (pixels.shape[1] - size, recipe.shift)
    train_loader = loader(Batches(pixels, labels, *room, augment=True), shuffle=True, pin=pin)
    held_loader = loader(Batches(held_pixels, held_labels, *room, augment=False), False, pin)
    held_loader.set_epoch(0)  # keeps it from consuming numbers of training epochs
    seen = DeviceBatches(train_loader, device, to_input)
    unseen = DeviceBatches(held_loader, device, to_input)
    optimizer = make_optimizer(model, recipe)
    schedule = CosineAnnealingLR(optimizer, T_max=recipe.epochs * len(train_loader))
    print(f"{args.variant}: {len(pixels):,} pictures to train with, {len(held_pixels):,} held out")

    step = 0
    with RunLog(output) as log:
        for epoch in range(1, recipe.epochs + 1):
            means = RunningMeans()
            with Progress(seen, f"epoch {epoch}", len(seen), leave=False) as batches:
                for images, targets in batches:
                    optimizer.zero_grad()
                    loss = cross_entropy(model(images), targets)
                    loss.backward()
                    optimizer.step()
                    schedule.step()
                    means.update(loss, weight=BATCH_SIZE)
                    batches.update(BATCH_SIZE)
                    step += 1
                    if step % READ_EVERY == 0 or step % len(seen) == 0:
                        means.read()
                        train_loss = means.values()[0]
                        if not np.isfinite(train_loss):
                            raise SystemExit(f"the loss became {train_loss}: try a lower --lr")
            speed = batches.speed
            scores = evaluate(model, unseen, topk=(1,))
            line = {"epoch": epoch, "train_loss": train_loss, "val_loss": scores["loss"]}
            log.write("epoch", step, **line, top1=scores["top1"], images_per_second=speed)
            print(
                f"epoch {epoch:2}/{recipe.epochs}: loss {train_loss:.3f}, held-out loss "
                f"{scores['loss']:.3f}, error {100 - scores['top1']:.2f} %, {speed:,.0f} images/s",
                flush=True,
            )
    minidl.save({"model": model.state_dict(), "mean": mean}, output / "model.safetensors")
    written = ["log.jsonl", "model.safetensors", *figures.save_all(model, log.path, output)]
    print(f"final error {100 - scores['top1']:.2f} %; written to {output}: {', '.join(written)}")
    return 0


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    add = parser.add_argument
    add("--data", type=Path, metavar="DIR", help="folder of CIFAR-10; see this file's first lines")
    add("--variant", choices=RECIPES, default="80sec", help="network (default: 80sec)")
    add("--epochs", type=int, metavar="N", help="default: the network's, see RECIPES")
    add("--lr", type=float, metavar="RATE", help="default: the network's, see RECIPES")
    add("--seed", type=int, metavar="N", default=0, help="decides everything random (default: 0)")
    add_device_options(add, default="cpu")
    add("--output", metavar="DIR", help="default: runs/cifar10, then runs/cifar10-2, ...")
    parser.set_defaults(device="cpu", tf32=False, num_threads=None)
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(run_program(train))
