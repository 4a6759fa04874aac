"""Train AlexNet on ImageNet, on a folder of your own pictures, or on drawn ones for a first try.

    python examples/alexnet_imagenet.py                           (Shapes: ten classes, no download)
    python examples/alexnet_imagenet.py --data DIR --device gpu   (DIR/train/<class>/<picture>.jpg)
    python examples/alexnet_imagenet.py --resume                  (go on where the last run stopped)

Read it from ``Run.train_epoch`` on, which is the training loop.
"""

from __future__ import annotations

import argparse
import math
import os
import shlex
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from tqdm import tqdm

import minidl
from minidl.data import DataLoader, DeviceBatches
from minidl.errors import ArgumentError, CheckpointError, DataError, DeviceError
from minidl.nn.functional import cross_entropy
from minidl.optim import SGD, param_groups
from minidl.optim.lr_scheduler import LambdaLR, ReduceLROnPlateau
from minidl.vision import figures
from minidl.vision.datasets import FakeData, Shapes
from minidl.vision.metrics import RunningMeans, accuracy, evaluate
from minidl.vision.models import AlexNet, alexnet
from minidl.vision.training import (
    Interrupted,
    Interruption,
    RunLog,
    Waiting,
    find_checkpoint,
    latest_run,
    new_run,
    open_folder,
)
from minidl.vision.transforms.presets import alexnet_evaluation, alexnet_finish, alexnet_training


@dataclass(frozen=True)
class Recipe:
    """The settings of a run; options of the command line come before them."""

    variant: str = "paper"
    init: str | None = None  # None: the variant's own
    epochs: int = 90
    batch_size: int = 128
    lr: float = 0.01  # of weights; biases have twice as much, and no decay
    schedule: str = "paper"
    warmup: int = 0  # steps in which the rate rises from 0
    momentum: float = 0.9
    weight_decay: float = 5e-4
    dropout: float = 0.5
    color_jitter: bool = True


# The paper's initial values need many steps to get going: "he" is for fewer pictures.
SMALL = Recipe(init="he", batch_size=32, schedule="cosine", warmup=30, color_jitter=False)
RECIPES = {
    "imagenet": Recipe(),  # the paper's: 100,000 pictures or more, and --synthetic
    "pictures": Recipe(**{**asdict(SMALL), "epochs": 30}),  # fewer pictures
    "shapes": Recipe(**{**asdict(SMALL), "epochs": 3}),  # without --data: minutes on a CPU
}

# The schedules, as factors of the rate after a share of the run; "plateau" is in Run.
SCHEDULES: dict[str, Callable[[float], float]] = {
    "constant": lambda done: 1.0,
    "step": lambda done: 0.1 ** int(3 * done),
    "cosine": lambda done: (1 + math.cos(math.pi * min(done, 1.0))) / 2,
    # The run behind the paper's figures: a tenth from epochs 23, 51 and 78 of 93 on.
    "paper": lambda done: 0.1 ** sum(done >= epoch / 93 for epoch in (23, 51, 78)),
}
LOG_EVERY = 20  # steps: so long at most, and to no checkpoint, a GPU goes on after a broken loss
SAVE_EVERY = 15 * 60  # seconds


def open_data(data: str | None, synthetic: bool) -> tuple[Any, Any, list[str]]:
    """Return the pictures to train with, those to validate with, and the names of the classes."""
    if synthetic:
        fake = partial(FakeData, image_size=(3, 256, 256), num_classes=1000)
        return fake(12_800), fake(1_280, random_offset=12_800), fake(0).classes
    if data is None:
        shapes = Shapes(split="train")
        return shapes, Shapes(split="val"), shapes.classes
    train, val = open_folder(data)
    folder: Any = getattr(train, "dataset", train)  # of a Subset
    return train, val, folder.classes


class Run:
    """A network in training: all that a checkpoint holds, and the loop."""

    def __init__(
        self, model: AlexNet, train_loader: DataLoader, val_batches: DeviceBatches, options: Any
    ) -> None:
        self.model, self.options, self.output = model, options, Path(options.output)
        self.train_loader, self.val_batches = train_loader, val_batches
        self.device = next(model.parameters()).device
        self.steps_per_epoch = min(len(train_loader), options.limit_batches or sys.maxsize)
        groups = param_groups(model, options.lr, options.weight_decay, bias_lr_multiplier=2)
        self.optimizer = SGD(groups, momentum=options.momentum, rate_in_velocity=True)
        self.scheduler = self.make_scheduler()
        self.means = RunningMeans()  # loss and top-1 of the present epoch
        self.epoch = self.batch = self.step = 0  # that are finished
        self.history: list[dict[str, float]] = []
        self.saved = time.monotonic()

    def make_scheduler(self) -> Any:
        """Return the schedule, which steps after each batch ("plateau": after each epoch)."""
        options, steps = self.options, self.options.epochs * self.steps_per_epoch
        if options.schedule == "plateau":  # the paper's rule, which its authors applied by hand
            return ReduceLROnPlateau(self.optimizer, factor=0.1, patience=3)
        factor, rise = SCHEDULES[options.schedule], options.warmup + 1
        return LambdaLR(
            self.optimizer, lambda step: min(1.0, (step + 1) / rise) * factor(step / steps)
        )

    def train(self) -> int:
        """Train until the last epoch is over or a signal comes; return the exit status."""
        log = RunLog(self.output, after_step=self.step or None)
        with log, Interruption() as interruption:
            while self.epoch < self.options.epochs:
                try:
                    speed = self.train_epoch(log, interruption)
                    unseen = islice(self.val_batches, self.options.limit_batches)
                    scores = evaluate(self.model, interruption.watch(unseen))
                except Interrupted:
                    self.save()
                    command = shlex.join(["python", sys.argv[0], "--resume", str(self.output)])
                    print(f"saved after step {self.step}; to go on: {command}", file=sys.stderr)
                    return 130
                self.finish_epoch(scores, speed, log)
        best = max(self.history, key=lambda line: line["top1"])
        print(
            "final: top-1 {top1:.2f} %, top-5 {top5:.2f} %".format(**self.history[-1]),
            "(best: top-1 {top1:.2f} % after epoch {epoch})".format(**best),
            f"\nwritten to {self.output}:", *sorted(path.name for path in self.output.iterdir()),
        )  # fmt: skip
        return 0

    def train_epoch(self, log: RunLog, interruption: Interruption) -> float:
        """Train for an epoch, or what is left of one, and return the images a second."""
        options, optimizer, means = self.options, self.optimizer, self.means
        self.train_loader.set_epoch(self.epoch)
        rest = islice(self.train_loader.iterate(self.batch), self.steps_per_epoch - self.batch)
        batches = Waiting(DeviceBatches(rest, self.device, self.val_batches.finish))
        images_before, speed = means.weight, 0.0
        read_every = 1 if self.device.type == "cpu" else LOG_EVERY  # to read waits for the GPU
        self.model.train()
        with tqdm(
            desc=f"epoch {self.epoch + 1}/{options.epochs}", unit="batch", initial=self.batch,
            total=self.steps_per_epoch, mininterval=0.5 if sys.stderr.isatty() else 30,
        ) as bar:  # fmt: skip
            for images, labels in batches:
                logits = self.model(images)
                loss = cross_entropy(logits, labels)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                if options.schedule != "plateau":
                    self.scheduler.step()
                means.update(loss, *accuracy(logits, labels), weight=len(labels))
                self.batch += 1
                self.step += 1

                bar.update()
                last = self.batch == self.steps_per_epoch or interruption.requested
                if self.step % read_every == 0 or last:
                    losses = self.read_losses()
                    speed = (means.weight - images_before) / batches.elapsed
                    bar.set_postfix_str(
                        f"loss {means.values()[0]:.3f}, {speed:.1f} images/s, "
                        f"{batches.share:.0%} waiting for data"
                    )
                    if self.step % LOG_EVERY == 0:
                        numbers = {"images_per_second": speed, "data_share": batches.share}
                        log.write("step", self.step, loss=losses[-1], lr=self.rate(), **numbers)
                interruption.check()
                if time.monotonic() - self.saved > SAVE_EVERY:
                    self.save()
        return speed

    def read_losses(self) -> list[float]:
        """Fetch the losses since the last time; end the program if one of them is no number."""
        losses = [row[0] for row in self.means.read()]
        for number, loss in enumerate(losses, start=self.step - len(losses) + 1):
            if not math.isfinite(loss):
                raise SystemExit(f"the loss became {loss} in step {number}: try a smaller --lr")
        return losses

    def finish_epoch(self, scores: dict[str, float], speed: float, log: RunLog) -> None:
        """Report an epoch, and save everything."""
        loss, top1 = self.means.values()
        is_best = all(scores["top1"] > line["top1"] for line in self.history)
        self.epoch, self.batch, self.means = self.epoch + 1, 0, RunningMeans()
        line = {"epoch": self.epoch, "train_loss": loss, "train_top1": top1}
        line |= {"val_loss": scores["loss"], "top1": scores["top1"], "top5": scores["top5"]}
        self.history.append(line)
        log.write("epoch", self.step, **line, lr=self.rate(), images_per_second=speed)
        print(
            f"epoch {self.epoch}/{self.options.epochs}: loss {loss:.3f}, validation loss "
            f"{scores['loss']:.3f}, top-1 {scores['top1']:.2f} %, top-5 {scores['top5']:.2f} %, "
            f"{speed:.1f} images/s",
            flush=True,
        )
        if self.options.schedule == "plateau":
            self.scheduler.step(100 - scores["top1"])
        if is_best:
            weights = {"model": self.model.state_dict(), "options": vars(self.options), **line}
            minidl.save(weights, self.output / "best.safetensors")
        self.save()
        figures.save_all(self.model, log.path, self.output)

    def rate(self) -> float:
        """The learning rate of weights."""
        return float(self.optimizer.param_groups[0]["lr"])

    def parts(self) -> dict[str, Any]:
        """What has a state of its own, by its name in a checkpoint."""
        return {"model": self.model, "optimizer": self.optimizer, "scheduler": self.scheduler,
                "means": self.means}  # fmt: skip

    def save(self) -> None:
        """Write all that is needed to go on from here as if nothing had happened."""
        self.read_losses()  # ends the program rather than save broken weights
        state = {name: part.state_dict() for name, part in self.parts().items()}
        state |= {"rng": minidl.get_rng_state(), "options": vars(self.options)}
        state |= {"progress": [self.epoch, self.batch, self.step], "history": self.history}
        minidl.save(state, self.output / "last.safetensors")
        self.saved = time.monotonic()

    def load(self, state: dict[str, Any]) -> None:
        """Go back to where ``save`` was called."""
        for name, part in self.parts().items():
            part.load_state_dict(state[name])
        minidl.set_rng_state(state["rng"])
        (self.epoch, self.batch, self.step), self.history = state["progress"], state["history"]


# --- The command line -----------------------------------------------------------------------------

DEFAULTS: dict[str, Any] = {"data": None, "synthetic": False, "workers": 2, "seed": 0}
DEFAULTS |= {"device": "auto", "tf32": False, "num_threads": None, "limit_batches": None}
# What may differ when a run is resumed; with any other difference it would be another run.
MAY_CHANGE = {"data", "workers", "device", "num_threads", "epochs", "output"}


def parse() -> dict[str, Any]:
    """Return the options that the command line gives, and no others."""
    recipes = {name: asdict(recipe) for name, recipe in RECIPES.items()}
    table = [f"{'recipe':14}" + "".join(f"{name:>10}" for name in recipes)]
    for key in asdict(Recipe()):
        table += [f"{key:14}" + "".join(f"{recipe[key]!s:>10}" for recipe in recipes.values())]
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog="shapes is the recipe without --data, pictures that for fewer than 100,000\n"
        "pictures, imagenet that for more and for --synthetic:\n\n  " + "\n  ".join(table),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        argument_default=argparse.SUPPRESS,
    )
    add = parser.add_argument_group("data").add_argument
    add("--data", metavar="DIR", help="holds train/<class>/*.jpg and val/..., or <class>/*.jpg (a "
        "tenth is held out), or what prepare_imagenet.py made (default: Shapes)")  # fmt: skip
    add("--synthetic", action="store_true", help="noise instead of pictures: to measure speed")
    add("--workers", type=int, metavar="N", help="threads that prepare pictures (default: 2)")
    add("--limit-batches", type=positive, metavar="N", help="end epochs after N (default: all)")
    add = parser.add_argument_group("network (default: the recipe's)").add_argument
    add("--variant", help="paper, original, single-tower, caffe, caffenet, torchvision, slim, "
        "half, six-conv or cifar")  # fmt: skip
    add("--init", help="paper, original, caffe, caffenet, slim, torch or he; None: the variant's "
        "own")  # fmt: skip
    add("--dropout", type=float, metavar="P", help="probability of dropping a unit of fc6, fc7")
    add = parser.add_argument_group("training (default: the recipe's)").add_argument
    add("--epochs", type=positive, metavar="N")
    add("--batch-size", type=positive, metavar="N")
    add("--lr", type=float, metavar="RATE", help="rate of weights; biases have twice as much")
    add("--schedule", choices=[*SCHEDULES, "plateau"], help="step: a tenth after each third; "
        "paper: a tenth at 25, 55 and 84%% of the run; plateau: a tenth when top-1 does not rise "
        "for 4 epochs")  # fmt: skip
    add("--weight-decay", type=float, metavar="FACTOR", help="of weights; biases have none")
    add("--seed", type=int, metavar="N", help="decides everything random (default: 0)")
    add = parser.add_argument_group("run").add_argument
    add("--device", help="auto, cpu, gpu or gpu:N (default: auto)")
    add("--tf32", action=argparse.BooleanOptionalAction, help="faster, less exact on a GPU")
    add("--num-threads", type=positive, metavar="N", help="to compute with (default: all cores)")
    add("--output", metavar="DIR", help="(default: runs/alexnet, then runs/alexnet-2, ...)")
    add("--resume", nargs="?", const=None, metavar="PATH", help="go on from a checkpoint or an "
        "output folder (default: --output, or else the latest run)")  # fmt: skip
    add("--evaluate", action="store_true", help="only evaluate the checkpoint or run of --resume")
    add("--ten-crop", action="store_true", help="with --evaluate: average over ten crops")
    return vars(parser.parse_args())


def positive(text: str) -> int:
    """A number of the command line that must not be 0."""
    if int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected 1 or more, got {text}")
    return int(text)


def run(given: dict[str, Any]) -> int:
    """Do what the command line asks for; return the exit status."""
    evaluating, ten_crop = given.pop("evaluate", False), given.pop("ten_crop", False)
    if "data" in given:
        given["data"] = os.path.abspath(given["data"])
    state: Any = None
    if evaluating or "resume" in given:
        wanted = given.pop("resume", None) or given.get("output") or latest_run("runs", "alexnet*")
        path = find_checkpoint(wanted, prefer="best" if evaluating else "last")
        state = minidl.load(path, map_location="cpu")
        if not isinstance(state, dict) or not {"options", "model"} <= set(state):
            raise CheckpointError(f"{path} was not written by this program")
        if not evaluating and "optimizer" not in state:
            raise CheckpointError(f"{path} holds weights alone: resume from last.safetensors")
        saved = {**DEFAULTS, **state["options"]}
        settings = {**saved, "output": str(path.parent), **given}
        for key in set(given) - MAY_CHANGE:
            if settings[key] != saved[key] and not evaluating:
                flag, old = key.replace("_", "-"), saved[key]
                raise ArgumentError(f"--{flag}: the run in {path} has {old}, and must keep it")
    else:
        settings = {**DEFAULTS, **given, "output": new_run(given.get("output"), "runs/alexnet")}
    if settings["num_threads"]:
        minidl.set_num_threads(settings["num_threads"])
    best = "gpu" if minidl.cuda.is_available() else "cpu"
    device = minidl.device(best if settings["device"] == "auto" else settings["device"])
    minidl.cuda.allow_tf32(settings["tf32"])

    pictures, unseen, classes = open_data(settings["data"], settings["synthetic"])
    if state is None:
        small = "pictures" if settings["data"] else "shapes"
        name = "imagenet" if settings["synthetic"] or len(pictures) >= 100_000 else small
        settings = {**asdict(RECIPES[name]), **settings, "classes": classes}
    elif settings["classes"] != classes:
        raise DataError(f"{path} was trained on other classes than --data {settings['data']} has")
    options = argparse.Namespace(**settings)
    minidl.manual_seed(options.seed)
    model = alexnet(options.variant, len(classes), options.dropout, options.init).to(device)
    size, scale = model.input_size[-1], model.input_scale
    in_training = alexnet_training(size, scale, options.color_jitter, raw=True)
    in_evaluation = alexnet_evaluation(size, scale, ten_crop, raw=True)
    for dataset, transform in ((pictures, in_training), (unseen, in_evaluation)):
        getattr(dataset, "dataset", dataset).transform = transform  # of a Subset's whole
    load = partial(DataLoader, batch_size=options.batch_size, num_workers=options.workers,
                   pin_memory=device.type == "gpu")  # fmt: skip
    val_batches = DeviceBatches(load(unseen), device, alexnet_finish(scale))  # bytes to numbers
    if evaluating:
        model.load_state_dict(state["model"])
        scores = evaluate(model, islice(tqdm(val_batches, "evaluating"), options.limit_batches))
        print("{} ({}): top-1 {top1:.2f} %, top-5 {top5:.2f} %".format(
            path, "ten crops" if ten_crop else "one crop", **scores))  # fmt: skip
        return 0
    trainer = Run(model, load(pictures, shuffle=True), val_batches, options)
    if state is not None:
        trainer.load(state)
    print(
        f"AlexNet on {device}: {len(pictures):,} pictures of {len(classes):,} classes to train "
        f"with, {len(unseen):,} to validate with\n"
        + ", ".join(f"{key} {settings[key]}" for key in asdict(Recipe()))
        + f", seed {options.seed}\noutput in {options.output}",
        flush=True,
    )
    return trainer.train()


def main() -> int:
    """Run the program; return its exit status."""
    warnings.simplefilter("ignore", RuntimeWarning)  # overflow: the loss tells, and is checked
    try:
        return run(parse())
    except (ArgumentError, CheckpointError, DataError, DeviceError) as error:
        print(f"{Path(sys.argv[0]).name}: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:  # the second one, or before the training began
        return 130


if __name__ == "__main__":
    sys.exit(main())
