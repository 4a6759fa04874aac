"""Train AlexNet on ImageNet, on a folder of your own pictures, or on pictures drawn for a first try.

    python examples/alexnet_imagenet.py                            # Shapes: ten classes, no download
    python examples/alexnet_imagenet.py --data DIR --device gpu    # DIR/train/<class>/<picture>.jpg
    python examples/alexnet_imagenet.py --resume runs/alexnet      # go on where a run was stopped
"""

from __future__ import annotations

import argparse
import math
import os
import shlex
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from itertools import count, islice
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from tqdm import tqdm

import minidl
from minidl import optim
from minidl.data import DataLoader, Dataset, Subset
from minidl.errors import ArgumentError, CheckpointError, DataError, DeviceError
from minidl.nn.functional import cross_entropy
from minidl.vision import figures, transforms
from minidl.vision.datasets import ImageFolder, Shapes
from minidl.vision.metrics import RunningMeans, accuracy, evaluate
from minidl.vision.models import AlexNet, alexnet
from minidl.vision.training import Interrupted, Interruption, RunLog, Waiting, hold_out

MOMENTUM = 0.9
BIAS_RATE = 2.0  # biases learn twice as fast as weights and don't decay, as in the original program
LOG_EVERY = 20  # steps between lines of the log
SAVE_EVERY = 15 * 60  # seconds between checkpoints within an epoch


@dataclass(frozen=True)
class Recipe:
    """The settings of a run that the command line does not give."""

    variant: str = "paper"
    init: str | None = None  # None: the variant's own
    epochs: int = 90
    batch_size: int = 128
    lr: float = 0.01
    schedule: str = "paper"
    warmup: int = 0  # steps in which the rate rises from 0
    dropout: float = 0.5
    weight_decay: float = 5e-4
    color_jitter: bool = True


RECIPES = {
    # The paper's own, for 100,000 pictures or more.
    "imagenet": Recipe(),
    # For fewer pictures: the paper's initial values would need many more steps to get going.
    "pictures": Recipe(
        init="he", epochs=30, batch_size=32, schedule="cosine", warmup=30, color_jitter=False
    ),
    # Without --data: minutes on a CPU.
    "shapes": Recipe(
        init="he", epochs=3, batch_size=32, schedule="cosine", warmup=30, color_jitter=False
    ),
}


# --- Data -----------------------------------------------------------------------------------------


class Synthetic(Dataset):
    """Random pictures of 256×256 pixels with random labels, made on the fly."""

    def __init__(self, length: int) -> None:
        self.length, self.classes = length, [f"class {label}" for label in range(1000)]

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> tuple[Image.Image, int]:
        rng = minidl.random.stream(0, "synthetic", index)
        return Image.fromarray(rng.integers(0, 256, (256, 256, 3), np.uint8)), index % 1000


class Transformed(Dataset):
    """A data set whose pictures go through a transform."""

    def __init__(self, pictures: Dataset, transform: Callable[[Any], minidl.Tensor]) -> None:
        self.pictures, self.transform = pictures, transform

    def __len__(self) -> int:
        return len(self.pictures)  # type: ignore[arg-type]

    def __getitem__(self, index: int) -> tuple[minidl.Tensor, int]:
        picture, label = self.pictures[index]
        return self.transform(picture), label


def open_data(data: str | None, synthetic: bool) -> tuple[Dataset, Dataset, list[str]]:
    """Return the pictures to train with, those to validate with, and the names of the classes."""
    if synthetic:
        return Synthetic(12_800), Synthetic(1_280), Synthetic(0).classes
    if data is None:
        shapes = Shapes(split="train")
        return shapes, Shapes(split="val"), shapes.classes
    folder = Path(data)
    if not folder.is_dir():
        raise DataError(
            f"--data: expected a folder with train/<class>/<picture>.jpg and val/..., or with "
            f"<class>/<picture>.jpg, found {'a file' if folder.exists() else 'nothing'} at {folder}"
        )
    train = ImageFolder(folder / "train" if (folder / "train").is_dir() else folder)
    if (folder / "train").is_dir() and (folder / "val").is_dir():
        val = ImageFolder(folder / "val")
        if val.classes != train.classes:
            odd = sorted(set(val.classes) ^ set(train.classes))
            raise DataError(
                f"--data: expected the same classes in train/ and val/ of {folder}, found "
                f"{', '.join(odd[:5])}{' and others' if len(odd) > 5 else ''} in one of them only"
            )
        return train, val, train.classes
    kept, held_out = hold_out(train.targets, every=10)
    if not held_out:
        raise DataError(f"--data: expected 10 pictures or more in {folder}, found {len(train)}")
    return Subset(train, kept), Subset(train, held_out), train.classes


def make_transforms(model: AlexNet, color_jitter: bool, ten_crop: bool) -> tuple[Any, Any]:
    """Return the transforms of training and of evaluation, on the scale that the model expects."""
    size = model.input_size[-1]
    shorter_side = round(size / 7) * 8  # 256 for inputs of 224 and 227
    if model.input_scale == "pixels":
        scale = [transforms.ToPixels(), transforms.SubtractMean((123.68, 116.78, 103.94))]
        jitter = [*scale, transforms.PCAJitter("original")]
    else:
        normalize = transforms.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
        scale = [transforms.ToTensor(), normalize]
        jitter = [transforms.ToTensor(), transforms.PCAJitter("paper01"), normalize]
    train = transforms.Compose([
        transforms.Resize(shorter_side),
        transforms.RandomCrop(size),
        transforms.RandomHorizontalFlip(),
        *(jitter if color_jitter else scale),
    ])  # fmt: skip
    center = transforms.Compose([transforms.CenterCrop(size), *scale])
    one_view = transforms.Compose(scale)
    crops = transforms.TenCrop(size)
    views = transforms.Lambda(lambda p: minidl.stack([one_view(crop) for crop in crops(p)]))
    return train, transforms.Compose([
        transforms.Resize(shorter_side), views if ten_crop else center
    ])  # fmt: skip


# --- The run --------------------------------------------------------------------------------------


@dataclass
class Progress:
    """How far a run has come."""

    epoch: int = 0  # epochs that are finished
    batch: int = 0  # batches of the present epoch that are finished
    step: int = 0  # batches of all epochs
    history: list[dict[str, float]] = field(default_factory=list)  # the log's line of each epoch


class Run:
    """A network in training: everything that a checkpoint holds, and the loop."""

    def __init__(
        self, model: AlexNet, pictures: DataLoader, unseen: DataLoader, options: argparse.Namespace
    ) -> None:
        self.model, self.pictures, self.unseen, self.options = model, pictures, unseen, options
        self.device = next(model.parameters()).device
        self.steps_per_epoch = min(len(pictures), options.limit_batches or len(pictures))
        groups = optim.param_groups(model, options.lr, options.weight_decay, BIAS_RATE)
        self.optimizer = optim.SGD(groups, momentum=MOMENTUM, rate_in_velocity=True)
        total = options.epochs * self.steps_per_epoch
        self.scheduler = make_scheduler(self.optimizer, options.schedule, options.warmup, total)
        self.progress = Progress()
        self.means = RunningMeans()  # loss and top-1 of the present epoch
        self.output = Path(options.output)
        self.saved = time.monotonic()

    def train(self) -> int:
        """Train until the last epoch is over or a signal comes; return the exit status."""
        progress = self.progress
        log = RunLog(self.output, after_step=progress.step or None)
        with log, Interruption() as interruption:
            for epoch in range(progress.epoch, self.options.epochs):
                try:
                    speed = self.train_epoch(epoch, log, interruption)
                    unseen = islice(self.unseen, self.options.limit_batches)
                    scores = evaluate(self.model, interruption.watch(unseen))
                except Interrupted:
                    self.save()
                    command = ["python", sys.argv[0], "--resume", str(self.output)]
                    print(f"stopped after step {progress.step}, and saved; to go on: "
                          f"{shlex.join(command)}", file=sys.stderr)  # fmt: skip
                    return 130
                self.finish_epoch(scores, speed, log)
        line, best = progress.history[-1], max(progress.history, key=lambda line: line["top1"])
        print(
            f"final: top-1 {line['top1']:.2f} %, top-5 {line['top5']:.2f} % (best: top-1 "
            f"{best['top1']:.2f} % after epoch {best['epoch']}); written to {self.output}: "
            + ", ".join(sorted(path.name for path in self.output.iterdir()))
        )
        return 0

    def train_epoch(self, epoch: int, log: RunLog, interruption: Interruption) -> float:
        """Train for an epoch, or for what is left of it; return the images a second."""
        model, optimizer, progress, means = self.model, self.optimizer, self.progress, self.means
        self.pictures.set_epoch(epoch)
        todo = self.steps_per_epoch - progress.batch
        batches = Waiting(islice(self.pictures.iterate(start_batch=progress.batch), todo))
        read_every = 1 if self.device.type == "cpu" else LOG_EVERY  # to read waits for the GPU
        images_before, speed = means.weight, 0.0
        model.train()
        bar = tqdm(
            desc=f"epoch {epoch + 1}/{self.options.epochs}", unit="batch", initial=progress.batch,
            total=self.steps_per_epoch, mininterval=0.5 if sys.stderr.isatty() else 30,
        )  # fmt: skip
        with bar:
            for images, labels in batches:
                labels = labels.to(self.device)
                logits = model(images.to(self.device))
                loss = cross_entropy(logits, labels)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                if self.options.schedule != "plateau":
                    self.scheduler.step()
                means.update(loss, *accuracy(logits, labels), weight=len(labels))
                progress.batch += 1
                progress.step += 1

                bar.update()
                stopping = progress.batch == self.steps_per_epoch or interruption.requested
                if progress.step % read_every == 0 or stopping:
                    losses = [row[0] for row in means.read()]
                    check_finite(losses, progress.step)
                    speed = (means.weight - images_before) / batches.elapsed
                    bar.set_postfix_str(f"loss {means.values()[0]:.3f}, {speed:.1f} images/s, "
                                        f"{batches.share:.0%} waiting for data")  # fmt: skip
                    if progress.step % LOG_EVERY == 0:
                        log.write("step", progress.step, loss=losses[-1], images_per_second=speed,
                                  waiting=batches.share, lr=self.rate())  # fmt: skip
                interruption.check()
                if time.monotonic() - self.saved > SAVE_EVERY:
                    self.save()
        return speed

    def finish_epoch(self, scores: dict[str, float], speed: float, log: RunLog) -> None:
        """Report an epoch, and save it."""
        progress, options = self.progress, self.options
        train_loss, train_top1 = self.means.values()
        line = {
            "epoch": progress.epoch + 1, "train_loss": train_loss, "train_top1": train_top1,
            "val_loss": scores["loss"], "top1": scores["top1"], "top5": scores["top5"],
        }  # fmt: skip
        log.write("epoch", progress.step, **line, images_per_second=speed, lr=self.rate())
        print(
            f"epoch {line['epoch']}/{options.epochs}: loss {train_loss:.3f}, validation loss "
            f"{scores['loss']:.3f}, top-1 {scores['top1']:.2f} %, top-5 {scores['top5']:.2f} %, "
            f"{speed:.1f} images/s",
            flush=True,
        )
        is_best = all(line["top1"] > before["top1"] for before in progress.history)
        progress.history.append(line)
        progress.epoch, progress.batch, self.means = progress.epoch + 1, 0, RunningMeans()
        if options.schedule == "plateau":
            self.scheduler.step(100 - scores["top1"])
        self.save()
        if is_best:
            weights = {"model": self.model.state_dict(), "options": vars(options), **line}
            minidl.save(weights, self.output / "best.safetensors")
        figures.save_all(self.model, log.path, self.output)

    def rate(self) -> float:
        """The weights' learning rate."""
        return float(self.optimizer.param_groups[0]["lr"])

    def save(self) -> None:
        """Write all that is needed to go on exactly here."""
        state = {
            "model": self.model.state_dict(), "optimizer": self.optimizer.state_dict(),
            "scheduler": self.scheduler.state_dict(), "means": self.means.state_dict(),
            "rng": minidl.get_rng_state(), "progress": asdict(self.progress),
            "options": vars(self.options),
        }  # fmt: skip
        minidl.save(state, self.output / "last.safetensors")
        self.saved = time.monotonic()

    def load(self, state: dict[str, Any]) -> None:
        """Go back to where ``save`` was called."""
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.scheduler.load_state_dict(state["scheduler"])
        self.means.load_state_dict(state["means"])
        minidl.set_rng_state(state["rng"])
        self.progress = Progress(**state["progress"])


def make_scheduler(optimizer: optim.Optimizer, name: str, warmup: int, steps: int) -> Any:
    """Return the schedule ``name`` over a run of ``steps``, of which ``warmup`` let the rate rise."""
    if name == "plateau":  # the paper's rule, which its authors applied by hand
        return optim.lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.1, patience=3)
    factors: dict[str, Callable[[int], float]] = {
        "constant": lambda step: 1.0,
        "step": lambda step: 0.1 ** (3 * step // steps),
        "cosine": lambda step: (1 + math.cos(math.pi * min(step / steps, 1.0))) / 2,
        # The run that the paper reports: a tenth from epochs 23, 51 and 78 of 93 on.
        "paper": lambda step: 0.1 ** sum(93 * step >= drop * steps for drop in (23, 51, 78)),
    }
    factor = factors[name]
    return optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min(1.0, (step + 1) / (warmup + 1)) * factor(step)
    )


def check_finite(losses: Sequence[float], step: int) -> None:
    """End the program when one of the losses, the last of which is that of ``step``, is no number."""
    for ago, loss in enumerate(reversed(losses)):
        if not math.isfinite(loss):
            raise SystemExit(f"the loss became {loss} in step {step - ago}: try a smaller --lr")


# --- The command line -----------------------------------------------------------------------------

#: What the command line may give, and a recipe does not.
DEFAULTS: dict[str, Any] = {
    "data": None, "synthetic": False, "workers": 2, "limit_batches": None, "seed": 0,
    "device": "auto", "num_threads": None, "output": "runs/alexnet",
}  # fmt: skip
#: What may change when a run is resumed; anything else would make it another run.
MAY_CHANGE = {"data", "workers", "device", "num_threads", "epochs", "output"}


def parse(argv: Sequence[str] | None = None) -> dict[str, Any]:
    """Return the options that the command line gives explicitly."""
    recipes = "\n".join(
        f"  {name:10}" + ", ".join(f"{key} {value}" for key, value in asdict(recipe).items())
        for name, recipe in RECIPES.items()
    )
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog="defaults by data: shapes without --data, pictures for fewer than 100,000 of them, "
        f"imagenet for more and for --synthetic\n{recipes}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        argument_default=argparse.SUPPRESS,
    )
    data = parser.add_argument_group("data")
    data.add_argument("--data", metavar="DIR", help="train/<class>/<picture>.jpg and val/... in it, "
                      "or <class>/<picture>.jpg, of which a tenth validates (default: Shapes)")  # fmt: skip
    data.add_argument("--synthetic", action="store_true", help="random pictures: to measure speed")
    data.add_argument("--workers", type=int, help="threads that prepare pictures (default: 2)")
    data.add_argument("--limit-batches", type=positive, metavar="N", help="end epochs after N batches")
    net = parser.add_argument_group("network (default: the recipe's, see below)")
    net.add_argument("--variant", help="paper, original, single-tower, caffe, caffenet, torchvision, "
                     "slim, half, six-conv, cifar")  # fmt: skip
    net.add_argument("--init", help="paper, original, caffe, caffenet, slim, torch, he")
    net.add_argument("--dropout", type=float, help="probability of dropping a unit of fc6, fc7")
    training = parser.add_argument_group("training (default: the recipe's, see below)")
    training.add_argument("--epochs", type=positive)
    training.add_argument("--batch-size", type=positive)
    training.add_argument("--lr", type=float, help="learning rate of the weights; biases: twice")
    training.add_argument("--schedule", choices=["constant", "step", "cosine", "plateau", "paper"],
                          help="step: a tenth after each third; plateau: a tenth when top-1 has not "
                          "risen for 4 epochs; paper: a tenth at 25, 55 and 84 %% of the run")  # fmt: skip
    training.add_argument("--weight-decay", type=float)
    training.add_argument("--seed", type=int, help="decides everything random (default: 0)")
    run = parser.add_argument_group("run")
    run.add_argument("--device", help="auto, cpu, gpu or gpu:N (default: auto)")
    run.add_argument("--num-threads", type=positive, metavar="N", help="to compute with (default: "
                     "all cores)")  # fmt: skip
    run.add_argument("--output", metavar="DIR", help="log, checkpoints, figures (default: "
                     "runs/alexnet, or runs/alexnet-2, ... if that is taken)")  # fmt: skip
    run.add_argument("--resume", nargs="?", const=None, metavar="PATH", help="go on from a "
                     "checkpoint or an output folder (default: --output, or the latest run)")  # fmt: skip
    run.add_argument("--evaluate", action="store_true", help="only evaluate the best checkpoint of "
                     "--resume's PATH")  # fmt: skip
    run.add_argument("--ten-crop", action="store_true", help="with --evaluate: average ten crops")
    return vars(parser.parse_args(argv))


def positive(text: str) -> int:
    """A whole number above 0, from the command line."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"expected 1 or more, got {number}")
    return number


def read_checkpoint(given: dict[str, Any], evaluating: bool) -> tuple[Path, dict[str, Any]]:
    """Return the path and the content of the checkpoint to go on from, or to evaluate."""
    runs = sorted(Path("runs").glob("alexnet*/last.safetensors"), key=os.path.getmtime)
    latest = runs[-1].parent if runs else DEFAULTS["output"]
    path = Path(given.get("resume") or given.get("output") or latest)
    if path.is_dir() or not path.suffix:
        names = ["best", "last"] if evaluating else ["last"]
        found = [path / f"{name}.safetensors" for name in names]
        path = next((one for one in found if one.exists()), found[-1])
    checkpoint = minidl.load(path, map_location="cpu")
    needed = {"model", "options"} if evaluating else {"model", "options", "optimizer"}
    if not isinstance(checkpoint, dict) or not needed <= set(checkpoint):
        raise CheckpointError(f"{path} is no checkpoint to go on from: expected a last.safetensors "
                              "that this program wrote")  # fmt: skip
    return path, checkpoint


def new_output(given: str | None) -> str:
    """Return a folder without a run in it, which would be lost."""
    output = given or DEFAULTS["output"]
    if not (Path(output) / "log.jsonl").exists():
        return output
    if given:
        raise ArgumentError(f"--output: {given} holds a run already; add --resume to go on with it, "
                            "or name another folder")  # fmt: skip
    return next(name for n in count(2) if not Path(name := f"{output}-{n}").exists())


def run(given: dict[str, Any]) -> int:
    """Do what the command line asks for; return the exit status."""
    evaluating, ten_crop = given.pop("evaluate", False), given.pop("ten_crop", False)
    if "data" in given:
        given["data"] = os.path.abspath(given["data"])
    checkpoint = None
    if evaluating or "resume" in given:
        path, checkpoint = read_checkpoint(given, evaluating)
        given.pop("resume", None)
        given.setdefault("output", str(path.parent))
        settings = {**checkpoint["options"], **given}
        changed = [key for key in set(given) - MAY_CHANGE if given[key] != checkpoint["options"][key]]
        if changed and not evaluating:
            raise ArgumentError(
                f"--{changed[0].replace('_', '-')}: {path} was trained with "
                f"{checkpoint['options'][changed[0]]}, which can't change in the middle of a run"
            )
    else:
        settings = {**DEFAULTS, **given, "output": new_output(given.get("output"))}
    if settings["num_threads"]:
        minidl.set_num_threads(settings["num_threads"])
    gpu = "gpu" if minidl.cuda.is_available() else "cpu"
    device = minidl.device(gpu if settings["device"] == "auto" else settings["device"])

    pictures, unseen, classes = open_data(settings["data"], settings["synthetic"])
    if checkpoint is None:
        size = "pictures" if settings["data"] else "shapes"
        recipe = RECIPES["imagenet" if settings["synthetic"] or len(pictures) >= 100_000 else size]
        settings = {**asdict(recipe), **settings, "classes": classes}
    elif settings["classes"] != classes:
        raise DataError(f"{path} was trained on other classes than those of {settings['data']}")
    options = argparse.Namespace(**settings)
    minidl.manual_seed(options.seed)
    model = alexnet(options.variant, len(classes), options.dropout, options.init).to(device)
    train_transform, test_transform = make_transforms(model, options.color_jitter, ten_crop)
    loader = partial(DataLoader, batch_size=options.batch_size, num_workers=options.workers)
    test_loader = loader(Transformed(unseen, test_transform))
    if evaluating:
        model.load_state_dict(checkpoint["model"])
        scores = evaluate(model, tqdm(islice(test_loader, options.limit_batches)))
        views = "ten crops" if ten_crop else "one crop"
        print(f"{path}, {views}: top-1 {scores['top1']:.2f} %, top-5 {scores['top5']:.2f} %")
        return 0

    train_loader = loader(Transformed(pictures, train_transform), shuffle=True)
    trainer = Run(model, train_loader, test_loader, options)
    if checkpoint is not None:
        trainer.load(checkpoint)
    print(
        f"AlexNet {options.variant!r} on {device}, {minidl.get_num_threads()} threads: "
        f"{len(pictures):,} pictures of {len(classes):,} classes to train with, {len(unseen):,} to "
        f"validate with\n"
        + ", ".join(f"{key} {settings[key]}" for key in asdict(Recipe()))
        + f", seed {options.seed}; output in {options.output}",
        flush=True,
    )
    return trainer.train()


def main() -> int:
    """Run the program; return its exit status."""
    try:
        return run(parse())
    except (ArgumentError, CheckpointError, DataError, DeviceError) as error:
        print(f"{Path(sys.argv[0]).name}: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:  # before the training has begun, or the second one
        return 130


if __name__ == "__main__":
    sys.exit(main())
