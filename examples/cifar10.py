"""Train the AlexNet paper's CIFAR-10 networks (cuda-convnet's), or a small AlexNet, on CIFAR-10.

    python examples/cifar10.py --data DIR --variant 80sec
    python examples/cifar10.py --data DIR --resume runs/cifar10      (after an interruption)
    python examples/cifar10.py --data DIR --evaluate 13pct           (a trained network's errors)

DIR holds CIFAR-10 as published (cifar-10-batches-py/) or as pictures (train/<class>/<number>.jpg).
Without test pictures, 5,000 of the 50,000 training pictures are held out for validation.

All pictures are in memory as bytes. A "sample" of the loader is a whole batch of them, which is
cropped, mirrored and centered on the network's device.

Each epoch ends with a checkpoint. Options that change an experiment: ``--activation tanh``,
``--without norm1 norm2``, and ``--plain``, which trains without weight decay, crops and mirrors.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

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
from minidl.errors import ArgumentError, CheckpointError, DataError
from minidl.nn.functional import cross_entropy
from minidl.optim.lr_scheduler import ConstantLR, CosineAnnealingLR
from minidl.training import (
    Checkpoints,
    Interruption,
    Progress,
    RunLog,
    new_run,
    run_program,
    set_up_device,
)
from minidl.training.command_line import add_device_options
from minidl.vision import figures
from minidl.vision.datasets import CIFAR10
from minidl.vision.datasets.opening import hold_out
from minidl.vision.metrics import RunningMeans, accuracy, evaluate
from minidl.vision.models import alexnet, cuda_convnet, load_network
from minidl.vision.models.rows import RowNet
from minidl.vision.statistics import PixelSums
from minidl.vision.transforms import PCAJitter, RawPicture, RawToInput
from minidl.vision.transforms.preprocessing import Preprocessing
from minidl.vision.weights.convert import save_weights


@dataclass(frozen=True)
class Recipe:
    """Settings for one network; biases have twice the weights' rate, and no decay."""

    decay: dict[str, float]  # of the weights, by layer ("conv1") or kind of layer ("conv")
    lr: float = 0.002  # initial rate of the weights; it falls to 0 as a half cosine
    epochs: int = 14
    init: str | None = None  # the network's own
    shift: int = 0  # largest random shift in pixels, for networks that see the whole picture
    jitter: float = 0.0  # strength of the color jitter, which the paper's authors set to 0.1


# Most decays come from cuda-convnet's layer files. Those train at a constant rate of 0.001, divided
# by 10 twice, by hand; the cosine needs fewer epochs. 13pct's suit a higher rate, and its inputs.
RECIPES = {
    "80sec": Recipe(decay={"conv": 0.004, "fc": 0.03}, epochs=40, shift=2),
    "18pct": Recipe(decay={"conv": 0.004, "fc10": 1.0}, lr=0.003, epochs=220),
    "19pct": Recipe(decay={"conv": 0.004, "fc10": 3.0}, epochs=100, shift=2),
    "13pct": Recipe(
        decay={"conv": 2.5e-4, "local": 5e-4, "fc10": 1e-3},
        lr=0.04,
        epochs=190,
        init="he",
        jitter=0.2,
    ),
    "11pct": Recipe(decay={"conv": 0.0, "local": 0.004, "fc10": 0.01}, lr=0.001, epochs=60),
    "cifar": Recipe(decay={"conv": 5e-4, "fc": 5e-4}, lr=0.01, init="he", shift=4),
}
BATCH_SIZE = 128
MOMENTUM = 0.9
MAY_CHANGE = ("device", "num_threads", "output", "resume", "tf32")  # when a run is resumed
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
    views : array-like of int, shape (V, 3), optional
        Top, left and mirroring of several views of each picture. Default: the central crop.
    jitter : PCAJitter, optional
        Draws a shift of the colors, if `augment`. Default: none.
    """

    def __init__(
        self,
        pixels: np.ndarray,
        labels: np.ndarray,
        room: int,
        shift: int,
        augment: bool,
        views: Sequence[Sequence[int]] | None = None,
        jitter: PCAJitter | None = None,
    ) -> None:
        self.pixels, self.labels, self.views, self.jitter = pixels, labels, views, jitter
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
        if self.views is not None:
            place = np.tile(np.array(self.views, np.int32), (n, 1, 1))  # (N, V, 3)
            pixels = np.repeat(pixels[:, None], len(self.views), axis=1)  # (N, V, C, H, W)
        shift = np.zeros(pixels.shape[:-2], np.float32)
        if self.augment and self.jitter is not None:
            shift[:] = [self.jitter.draw() for _ in indices]
        parts = pixels, place, shift
        return RawPicture(*map(minidl.from_numpy, parts)), minidl.from_numpy(self.labels[indices])


def test_views(room: int) -> list[tuple[int, int, int]]:
    """Return the middles of the thirds of the crops' range, both ways, and their mirror images."""
    middles = dict.fromkeys((2 * third + 1) * (room + 1) // 6 for third in range(3))
    return [(top, left, mirrored) for mirrored in (0, 1) for top in middles for left in middles]


def read_pictures(
    folder: Path,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, list[str]]:
    """Return pixels and labels to train and to validate with, and the classes' names."""
    train = CIFAR10(folder, train=True)
    pixels, labels = train.data, np.asarray(train.targets, dtype=np.int64)
    try:
        test = CIFAR10(folder, train=False)
    except DataError:
        kept, held_out = hold_out(labels, every=10)
        print(f"no test pictures in {folder}: {len(held_out):,} training pictures are held out")
        return pixels[kept], labels[kept], pixels[held_out], labels[held_out], train.classes
    return pixels, labels, test.data, np.asarray(test.targets, dtype=np.int64), train.classes


def color_jitter(pixels: np.ndarray, std: float) -> PCAJitter:
    """Return the AlexNet paper's color jitter for these pictures, of some strength."""
    sums = PixelSums(*pixels.shape[1:3])
    sums.add(pixels)
    found = sums.statistics()
    return PCAJitter("original", found.eigenvalues.tolist(), found.eigenvectors.tolist(), std)


def loader(dataset: Batches, shuffle: bool, pin: bool) -> DataLoader:
    """Return a loader that prepares batches in a worker while the network computes."""
    order = RandomSampler(dataset) if shuffle else SequentialSampler(dataset)
    batches = BatchSampler(order, BATCH_SIZE, drop_last=shuffle)
    return DataLoader(dataset, sampler=batches, batch_size=None, num_workers=1, pin_memory=pin)


def make_model(args: argparse.Namespace, recipe: Recipe, classes: int) -> RowNet:
    """Make the network that ``--variant`` names, with the changes that other options ask for."""
    if args.variant == "cifar":
        return alexnet("cifar", classes, init=recipe.init, **changes(args))
    return cuda_convnet(args.variant, classes, init=recipe.init, **changes(args))


def changes(args: argparse.Namespace) -> dict[str, Any]:
    """Return the options that change the network."""
    given = {"activation": args.activation, "without": args.without}
    return {name: value for name, value in given.items() if value not in ("relu", [])}


def make_optimizer(model: RowNet, recipe: Recipe) -> minidl.optim.SGD:
    """Return SGD with one parameter group for each layer's weights, and one for all biases."""
    biases, groups = [], []
    for name, layer in model.named_rows().items():
        decay = recipe.decay.get(name, recipe.decay.get(name.rstrip("0123456789"), 0.0))
        groups.append({"params": [layer.weight], "weight_decay": decay})
        biases.append(layer.bias)
    groups.append({"params": biases, "lr": 2 * recipe.lr})
    return minidl.optim.SGD(groups, recipe.lr, MOMENTUM, rate_in_velocity=True)


def make_recipe(args: argparse.Namespace) -> Recipe:
    """Return the variant's recipe with the changes that the command line asks for."""
    recipe = RECIPES[args.variant]
    given = {name: getattr(args, name) for name in ("lr", "epochs", "shift", "init")}
    recipe = replace(recipe, **{name: new for name, new in given.items() if new is not None})
    return replace(recipe, decay={}, shift=0, jitter=0.0) if args.plain else recipe


class Run:
    """The training of one network, from its first epoch or a checkpoint; or one trained before."""

    def __init__(
        self,
        args: argparse.Namespace,
        output: Path,
        state: dict[str, Any] | None,
        model: RowNet | None = None,
    ) -> None:
        self.args, self.output, self.recipe = args, output, make_recipe(args)
        device = set_up_device(vars(args))
        minidl.manual_seed(args.seed)
        pictures = read_pictures(Path(args.data))
        pixels, labels, held_pixels, held_labels, self.classes = pictures
        self.model = (model or make_model(args, self.recipe, len(self.classes))).to(device)
        size, pin = self.model.input_size[-1], device.type == "gpu"
        prepared = self.model.preprocessing
        if prepared is None:
            mean = tuple(pixels.mean(axis=(0, 1, 2), dtype=np.float64).tolist())  # the mean color
            scale = 1.0 if self.model.input_scale == "pixels" else DEVIATION
            prepared = Preprocessing(size, pixels.shape[1], mean, (scale,) * 3)
            self.model.preprocessing = prepared
        to_input = RawToInput(prepared.mean, prepared.std, 255 / prepared.white, size)
        room, shift, augment = pixels.shape[1] - size, self.recipe.shift, not args.plain
        jitter = color_jitter(pixels, self.recipe.jitter) if self.recipe.jitter else None
        self.loader = loader(Batches(pixels, labels, room, shift, augment, None, jitter), True, pin)
        self.seen = DeviceBatches(self.loader, device, to_input)

        def held_out(views: list[tuple[int, int, int]] | None) -> DeviceBatches:
            batches = loader(Batches(held_pixels, held_labels, room, 0, False, views), False, pin)
            batches.set_epoch(0)  # keeps it from consuming numbers of training epochs
            return DeviceBatches(batches, device, to_input)

        self.unseen, self.unseen_views = held_out(None), held_out(test_views(room))
        self.optimizer = make_optimizer(self.model, self.recipe)
        if not len(self.loader):
            raise DataError(f"{args.data} has too few pictures: {len(pixels)} to train with, and a "
                            f"batch takes {BATCH_SIZE}")  # fmt: skip
        steps = self.recipe.epochs * len(self.loader)
        self.schedule = (
            ConstantLR(self.optimizer, factor=1.0)
            if args.constant
            else CosineAnnealingLR(self.optimizer, T_max=steps)
        )
        self.checkpoints = Checkpoints(output)
        self.epoch = self.step = 0
        if state is not None:
            self.epoch, self.step = state["progress"]
            for name in ("model", "optimizer", "schedule"):
                getattr(self, name).load_state_dict(state[name])
            minidl.set_rng_state(state["rng"])
        print(
            f"{args.variant}: {len(pixels):,} pictures to train with, {len(held_pixels):,} held out"
        )

    def save(self) -> None:
        """Write a checkpoint, between two epochs."""
        state = {
            name: getattr(self, name).state_dict() for name in ("model", "optimizer", "schedule")
        }
        state |= {"progress": [self.epoch, self.step], "rng": minidl.get_rng_state()}
        prepared = self.model.preprocessing
        state["options"] = {  # for load_network
            "variant": self.args.variant, "network": changes(self.args), "classes": self.classes,
            "preprocessing": prepared and prepared.to_dict(),
        }  # fmt: skip
        settings = {
            name: value for name, value in vars(self.args).items() if name not in MAY_CHANGE
        }
        self.checkpoints.save(state | {"settings": settings})

    def train(self) -> int:
        """Train to the last epoch, print the error after each, and return the exit status."""
        with RunLog(self.output, after_step=self.step or None) as log:
            while self.epoch < self.recipe.epochs:
                self.epoch += 1
                train_loss, train_top1, speed = self.train_epoch()
                scores = evaluate(self.model, self.unseen, topk=(1,))
                line = {"epoch": self.epoch, "train_loss": train_loss, "train_top1": train_top1}
                line |= {"val_loss": scores["loss"], "top1": scores["top1"]}
                log.write("epoch", self.step, **line, images_per_second=speed)
                self.save()
                print(
                    f"epoch {self.epoch:2}/{self.recipe.epochs}: loss {train_loss:.3f}, held-out "
                    f"loss {scores['loss']:.3f}, error {100 - scores['top1']:.2f} %, "
                    f"{speed:,.0f} images/s",
                    flush=True,
                )
                if train_top1 > 100 - self.args.until:
                    break
            error, views = self.errors()
            log.write("final", self.step, error=error, error_views=views)
        save_weights(
            self.model, self.output / "model.safetensors", self.classes, changes(self.args),
            error=f"{error:.2f} %", error_views=f"{views:.2f} %",
        )  # fmt: skip
        drawn = figures.save_all(self.model, log.path, self.output)
        written = ["log.jsonl", "model.safetensors", *drawn]
        print(
            f"final error {error:.2f} %, of several views {views:.2f} %; "
            f"written to {self.output}: {', '.join(written)}"
        )
        return 0

    def errors(self) -> tuple[float, float]:
        """Return the errors in percent, of the center and of several views."""
        top1 = [
            evaluate(self.model, batches, topk=(1,))["top1"]
            for batches in (self.unseen, self.unseen_views)
        ]
        return 100 - top1[0], 100 - top1[1]

    def train_epoch(self) -> tuple[float, float, float]:
        """Train for an epoch; return the mean loss, the accuracy and the images per second."""
        means, steps = RunningMeans(), len(self.seen)
        self.model.train()
        self.loader.set_epoch(self.epoch - 1)
        with Progress(self.seen, f"epoch {self.epoch}", steps, leave=False) as batches:
            for images, targets in batches:
                self.optimizer.zero_grad()
                logits = self.model(images)
                loss = cross_entropy(logits, targets)
                loss.backward()
                self.optimizer.step()
                self.schedule.step()
                means.update(loss, *accuracy(logits, targets), weight=BATCH_SIZE)
                batches.update(BATCH_SIZE)
                self.step += 1
                if self.step % READ_EVERY == 0 or self.step % steps == 0:
                    means.read()
                    train_loss, train_top1 = means.values()
                    if not np.isfinite(train_loss):
                        raise SystemExit(f"the loss became {train_loss}: try a lower --lr")
        return train_loss, train_top1, batches.speed


def main(interruption: Interruption, given: list[str] | None = None) -> int:
    """Begin a run or continue one; return the exit status."""
    args = parse(given)
    state, output = None, Path(args.resume or new_run(args.output, "runs/cifar10"))
    if args.resume:
        path, state = Checkpoints.load(args.resume)
        output = path.parent
        if not isinstance(state, dict) or "settings" not in state:
            raise CheckpointError(f"{path} was not written by this program")
        vars(args).update(
            {"until": 0.0} | state["settings"] | ({"data": args.data} if args.data else {})
        )
    if args.data is None:
        raise DataError(
            f"--data DIR is required: unpack {CIFAR10.url} and name the folder that contains "
            f"{CIFAR10.base_folder}/, or one with pictures at train/<class>/<number>.jpg"
        )
    if not args.evaluate:
        return Run(args, output, state).train()
    model = load_network(args.evaluate)
    args.variant = model.variant
    if args.variant not in RECIPES:
        known = ", ".join(RECIPES)
        raise ArgumentError(f"{args.evaluate} holds {args.variant}, not one of {known}")
    error, views = Run(args, output, None, model).errors()
    print(f"{args.evaluate}: error {error:.2f} %, of several views {views:.2f} %")
    return 0


def parse(given: list[str] | None = None) -> argparse.Namespace:
    """Read the command line, or the options given."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    add = parser.add_argument
    add("--data", metavar="DIR", help="folder of CIFAR-10; see this file's first lines")
    add("--variant", choices=RECIPES, default="80sec", help="network (default: 80sec)")
    add("--epochs", type=int, metavar="N", help="default: the network's, see RECIPES")
    add("--lr", type=float, metavar="RATE", help="default: the network's, see RECIPES")
    add("--constant", action="store_true", help="keep the rate instead of lowering it to 0")
    add("--shift", type=int, metavar="PIXELS", help="largest random shift (default: the network's)")
    add("--init", help="initial values (default: the network's)")
    add("--activation", choices=("relu", "tanh"), default="relu", help="(default: relu)")
    add("--without", nargs="+", default=[], metavar="LAYER", help="omit layers, such as norm1")
    add("--until", type=float, metavar="PERCENT", help="end below this training error")
    add("--plain", action="store_true", help="no regularization: no decay, no crops, no mirrors")
    add("--resume", metavar="DIR", help="continue the run in DIR, with its settings")
    add("--evaluate", metavar="WEIGHTS", help="judge a file's network, a run's, or one by its name")
    add("--seed", type=int, metavar="N", default=0, help="decides everything random (default: 0)")
    add_device_options(add, default="cpu")
    add("--output", metavar="DIR", help="default: runs/cifar10, then runs/cifar10-2, ...")
    parser.set_defaults(device="cpu", tf32=False, num_threads=None, until=0.0)
    return parser.parse_args(given)


if __name__ == "__main__":
    sys.exit(run_program(main))
