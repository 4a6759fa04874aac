"""Train AlexNet on ImageNet, on a folder of your own pictures, or on drawn ones for a first try.

    python examples/alexnet_imagenet.py                           (Shapes: ten classes, no download)
    python examples/alexnet_imagenet.py --data DIR --device gpu   (DIR/train/<class>/<picture>.jpg)
    python examples/alexnet_imagenet.py --resume                  (go on where the last run stopped)

Read it from ``Run.train_epoch`` on, which is the training loop.
"""

from __future__ import annotations

import argparse
import os
import shlex
import sys
import time
import warnings
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from tqdm import tqdm

import minidl
from minidl import training
from minidl.errors import ArgumentError, CheckpointError, DataError, DeviceError
from minidl.nn.functional import cross_entropy
from minidl.optim import SGD
from minidl.optim.lr_scheduler import LambdaLR
from minidl.training import Interrupted, Interruption, RunLog, latest_run, new_run, report
from minidl.training.checkpoints import Checkpoints
from minidl.training.schedules import SCHEDULES, has_color_noise, make_scheduler, parameter_groups
from minidl.training.watch import FiniteCheck, FlatLoss, NotFiniteError
from minidl.vision import figures
from minidl.vision.batches import PictureBatches
from minidl.vision.datasets import FakeData, Shapes
from minidl.vision.datasets.opening import open_folder
from minidl.vision.metrics import RunningMeans, accuracy, evaluate
from minidl.vision.models import AlexNet, alexnet
from minidl.vision.statistics import PixelStatistics


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
LOG_EVERY = 20  # steps: so long at most, and to no checkpoint, a GPU goes on after a broken number
BROKEN = 3  # the exit status after a number that was NaN or infinite
UNSAVED = 4  # the exit status when the last checkpoint could not be written


def open_data(settings: dict[str, Any]) -> tuple[Any, Any, list[str]]:
    """Return the pictures to train with, those to validate with, and the names of the classes."""
    if settings["synthetic"]:
        fake = partial(FakeData, image_size=(3, 256, 256), num_classes=1000)
        return fake(12_800), fake(1_280, random_offset=12_800), fake(0).classes
    if settings["data"] is None:
        shapes = Shapes(split="train")
        return shapes, Shapes(split="val"), shapes.classes
    train, val = open_folder(settings["data"], settings["on_bad_image"])
    return train, val, train.classes


class Run:
    """A network in training: all that a checkpoint holds, and the loop."""

    def __init__(self, model: AlexNet, pictures: PictureBatches, options: Any) -> None:
        self.model, self.pictures, self.options = model, pictures, options
        conv1 = next(iter(model.named_rows().values()))
        groups = parameter_groups(model, conv1, options.lr, options.weight_decay)
        self.optimizer = SGD(groups, momentum=options.momentum, rate_in_velocity=True)
        self.scheduler = make_scheduler(
            self.optimizer, options.schedule, options.epochs, len(pictures), options.warmup,
            options.lr_drop_at,
        )  # fmt: skip
        self.means = RunningMeans()  # loss and top-1 of the present epoch
        self.finite, self.flat = FiniteCheck(model), FlatLoss(len(options.classes))
        self.epoch = self.batch = self.step = 0  # that are finished
        self.history: list[dict[str, float]] = []
        self.checkpoints, self.saved_at = Checkpoints(options.output), time.monotonic()
        self.is_saved = False  # the last time that it was tried
        self.leniency = training.Leniency()

    def train(self, interruption: Interruption) -> int:
        """Train until the last epoch is over or a signal comes; return the exit status."""
        interruption.waits = True  # for the end of a step
        with RunLog(self.options.output, after_step=self.step or None) as log:
            try:
                while self.epoch < self.options.epochs:
                    speed = self.train_epoch(log, interruption)
                    scores = evaluate(self.model, interruption.watch(self.pictures.evaluation()))
                    self.finish_epoch(scores, speed, log)
                self.report(interruption)
            except (Interrupted, DataError) as reason:  # between two steps, both
                done = f"saved after step {self.step}" if self.save() else "stopped, NOT saved"
                command = shlex.join(["python", sys.argv[0], "--resume", self.options.output])
                if isinstance(reason, Interrupted):
                    print(f"\n{done}; to go on: {command}", file=sys.stderr)
                    return interruption.status
                print(f"\n{done}; to go on, mend what is named below, or add --on-bad-image skip "
                      f"(and --bad-image-budget N): {command}", file=sys.stderr)  # fmt: skip
                raise
        return 0 if self.is_saved else UNSAVED

    def train_epoch(self, log: RunLog, interruption: Interruption) -> float:
        """Train for an epoch, or what is left of one, and return the images a second."""
        options, optimizer, means = self.options, self.optimizer, self.means
        noise = has_color_noise(options.schedule, self.epoch / options.epochs)
        batches = training.Waiting(
            self.pictures.training(self.epoch, self.batch, options.color_jitter and noise)
        )
        images_before, speed = means.weight, 0.0
        on_cpu = self.pictures.device.type == "cpu"
        read_every = 1 if on_cpu else LOG_EVERY  # to read waits for the GPU
        self.model.train()
        with tqdm(
            desc=f"epoch {self.epoch + 1}/{options.epochs}", unit="batch", initial=self.batch,
            total=len(self.pictures), mininterval=0.5 if sys.stderr.isatty() else 30,
        ) as bar:  # fmt: skip
            for images, labels in batches:
                optimizer.zero_grad()
                logits = self.model(images)
                loss = cross_entropy(logits, labels)
                if on_cpu:
                    self.finite.loss(loss, images, self.step + 1)
                loss.backward()
                optimizer.step()
                if isinstance(self.scheduler, LambdaLR):
                    self.scheduler.step()
                means.update(loss, *accuracy(logits, labels), weight=len(labels))
                self.batch += 1
                self.step += 1

                bar.update()
                last = self.batch == len(self.pictures) or interruption.requested
                if self.step % read_every == 0 or last:
                    losses = self.read_losses(images)
                    speed = (means.weight - images_before) / batches.elapsed
                    bar.set_postfix_str(
                        f"loss {means.values()[0]:.3f}, {speed:.1f} images/s, "
                        f"{batches.share:.0%} waiting for data"
                    )
                    if self.step % LOG_EVERY == 0:
                        numbers = {"images_per_second": speed, "data_share": batches.share}
                        log.write("step", self.step, loss=losses[-1], lr=self.rate(), **numbers)
                interruption.check()
                if time.monotonic() - self.saved_at >= 60 * options.save_minutes:
                    self.save()
        return speed

    def read_losses(self, images: minidl.Tensor) -> list[float]:
        """Fetch the losses since the last time, and see that every number is still finite."""
        losses = [row[0] for row in self.means.read()]
        for step, loss in enumerate(losses, start=self.step - len(losses) + 1):
            self.finite.loss(loss, images, step)
        self.finite.parameters(self.step)
        if self.flat.update(losses):
            print(f"\nhint: {self.flat.hint}", file=sys.stderr)
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
            f"epoch {self.epoch}/{self.options.epochs}: loss {loss:.3f}, "
            f"validation {describe(scores)}, {speed:.1f} images/s",
            flush=True,
        )
        if not isinstance(self.scheduler, LambdaLR):
            self.scheduler.step(100 - scores["top1"])
        self.save(best=is_best)
        with self.leniency.writing("the figures"):
            figures.save_all(self.model, log.path, self.options.output)

    def report(self, interruption: Interruption) -> None:
        """Say what came of the run, and write it to report.md and report.json."""
        last, bad, output = self.history[-1], self.pictures.bad, self.options.output
        one_crop = {"loss": last["val_loss"], "top1": last["top1"], "top5": last["top5"]}
        final = {"single crop": one_crop}
        if self.options.ten_crop:
            batches = interruption.watch(self.pictures.evaluation(ten_crop=True))
            final["ten crops"] = evaluate(self.model, batches)
        settings = {**vars(self.options), "bad_pictures": len(bad.found)}
        with self.leniency.writing("the report"):
            report.write(output, settings=settings, history=self.history, final=final)
        best = max(self.history, key=lambda line: line["top1"])
        for crops, scores in final.items():
            print(f"final, {crops}: {describe(scores)}")
        print("best: top-1 {top1:.2f} % after epoch {epoch}".format(**best))
        if bad.found:
            print(f"pictures that could not be read: {len(bad.found)}, listed in {bad.path}")
        print(f"written to {output}:", *sorted(os.listdir(output)))

    def rate(self) -> float:
        """The learning rate of weights."""
        return float(self.optimizer.param_groups[0]["lr"])

    def parts(self) -> dict[str, Any]:
        """What has a state of its own, by its name in a checkpoint."""
        return {"model": self.model, "optimizer": self.optimizer, "scheduler": self.scheduler,
                "means": self.means, "flat": self.flat, "pictures": self.pictures}  # fmt: skip

    def save(self, best: bool = False) -> bool:
        """Write all that is needed to go on from here as if nothing had happened."""
        self.finite.parameters(self.step)  # ends the program rather than save broken weights
        state = {name: part.state_dict() for name, part in self.parts().items()}
        state |= {"rng": minidl.get_rng_state(), "options": vars(self.options)}
        state |= {"progress": [self.epoch, self.batch, self.step], "history": self.history}
        state["versions"] = training.versions()
        self.saved_at = time.monotonic()
        self.is_saved = self.checkpoints.save(state, best)
        return self.is_saved

    def load(self, state: dict[str, Any]) -> None:
        """Go back to where ``save`` was called."""
        (self.epoch, self.batch, self.step), self.history = state["progress"], state["history"]
        if self.epoch + (self.batch > 0) > self.options.epochs:
            raise ArgumentError(f"--epochs {self.options.epochs}: the run is in epoch "
                                f"{self.epoch + 1} already, after step {self.step}")  # fmt: skip
        self.is_saved = True
        parts, before, now = self.parts(), state["options"], vars(self.options)
        new_rates = any(before[key] != now[key] for key in ("epochs", "lr_drop_at"))
        if new_rates and isinstance(self.scheduler, LambdaLR):
            del parts["scheduler"]
        for name, part in parts.items():
            part.load_state_dict(state[name])
        if "scheduler" not in parts:
            self.scheduler.step(self.step)
        minidl.set_rng_state(state["rng"])
        if state["versions"] != (present := training.versions()):
            print(f"warning: the run began with {state['versions']}, not with {present}: the last "
                  "digits will differ", file=sys.stderr)  # fmt: skip


def describe(scores: dict[str, float]) -> str:
    """Scores of ``evaluate`` in words."""
    return "loss {loss:.3f}, top-1 {top1:.2f} %, top-5 {top5:.2f} %".format(**scores)


# --- The command line -----------------------------------------------------------------------------

DEFAULTS: dict[str, Any] = {"data": None, "synthetic": False, "workers": 2, "seed": 0,
    "device": "auto", "tf32": False, "num_threads": None, "limit_batches": None,
    "on_bad_image": "error", "bad_image_budget": None, "lr_drop_at": None, "save_minutes": 15.0,
    "ten_crop": False, "shared_offset": None}  # fmt: skip
# What may differ when a run is resumed; with any other difference it would be another run.
MAY_CHANGE = {"data", "workers", "device", "num_threads", "epochs", "output", "lr_drop_at",
    "on_bad_image", "bad_image_budget", "save_minutes", "ten_crop"}  # fmt: skip

EPILOG = """\
Exit status: 0 after the last epoch; 1 after an error of the program; 2 if an option, the data or a
checkpoint is wrong; 3 if a number became NaN or infinite, before it is saved (on a GPU when losses
are read, every 20 steps); 4 after the last epoch if its checkpoint could not be written; 130 after
Ctrl-C (SIGINT), 143 after SIGTERM, 129 after SIGHUP (a closed terminal): the step ends and is
saved. A second signal leaves at once.

To divide the rate by 10 by hand, stop the run in epoch 23, say, and --resume --lr-drop-at 23; the
next time, --lr-drop-at 23 51.

Recipes: shapes without --data, pictures for fewer than 100,000, imagenet else and --synthetic:

  """


def parse() -> dict[str, Any]:
    """Return the options that the command line gives, and no others."""
    recipes = {name: asdict(recipe) for name, recipe in RECIPES.items()}
    table = [f"{'recipe':14}" + "".join(f"{name:>10}" for name in recipes)]
    for key in asdict(Recipe()):
        table += [f"{key:14}" + "".join(f"{recipe[key]!s:>10}" for recipe in recipes.values())]
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog=EPILOG + "\n  ".join(table),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        argument_default=argparse.SUPPRESS,
    )
    count, whole, number = (training.at_least(least) for least in (1, 0, 0.0))
    group = parser.add_argument_group("data")
    add = group.add_mutually_exclusive_group().add_argument
    add("--data", metavar="DIR", help="holds train/<class>/*.jpg and val/..., or <class>/*.jpg (a "
        "tenth is held out), or ImageNet's archives, or what prepare_imagenet.py made (default: "
        "Shapes)")  # fmt: skip
    add("--synthetic", action="store_true", help="noise instead of pictures: to measure speed")
    add = group.add_argument
    add("--workers", type=whole, metavar="N", help="processes that prepare pictures (default: 2)")
    add("--limit-batches", type=count, metavar="N", help="end epochs after N (default: all)")
    add("--on-bad-image", choices=["error", "skip"], help="a picture that can't be read ends the "
        "run (default), or another takes its place and bad-images.txt names it")  # fmt: skip
    add("--bad-image-budget", type=whole, metavar="N", help="skip so many at most "
        "(default: a thousandth of the pictures, but 10 or more)")  # fmt: skip
    add = parser.add_argument_group("network (default: the recipe's)").add_argument
    add("--variant", help="paper, original, single-tower, caffe, caffenet, torchvision, slim, "
        "half, six-conv or cifar")  # fmt: skip
    add("--init", help="paper, original, caffe, caffenet, slim, torch or he (None in a "
        "recipe: the variant's own)")  # fmt: skip
    add("--dropout", type=number, metavar="P", help="probability of dropping a unit of fc6, fc7")
    add = parser.add_argument_group("training (default: the recipe's)").add_argument
    add("--epochs", type=count, metavar="N")
    add("--batch-size", type=count, metavar="N")
    add("--lr", type=number, metavar="RATE", help="rate of weights; biases have twice as much")
    add("--schedule", choices=SCHEDULES, help="step: a tenth after each third; paper: a tenth at "
        "25, 55 and 84%% of the run; original: as paper, with conv1 frozen in two steps and the "
        "colour noise ended at 73%%, as in the published run; plateau: a tenth when top-1 does not "
        "rise for 4 epochs")  # fmt: skip
    add("--lr-drop-at", type=number, nargs="+", metavar="EPOCH", help="instead of the "
        "schedule, from the first epoch on: a tenth each time that so many epochs are done; may be "
        "given with --resume")  # fmt: skip
    add("--weight-decay", type=number, metavar="FACTOR", help="of weights; biases have none")
    add("--shared-offset", type=count, metavar="N", help="crop and mirror N neighbours alike: "
        "32 in the original program (default: each for itself)")  # fmt: skip
    add("--seed", type=whole, metavar="N", help="decides everything random (default: 0)")
    add = parser.add_argument_group("run").add_argument
    add("--device", help="auto, cpu, gpu or gpu:N (default: auto)")
    add("--tf32", action=argparse.BooleanOptionalAction, help="faster, less exact on a GPU")
    add("--num-threads", type=count, metavar="N", help="to compute with (default: all cores)")
    add("--output", metavar="DIR", help="(default: runs/alexnet, then runs/alexnet-2, ...)")
    add("--save-minutes", type=number, metavar="M", help="save so often, and after each "
        "epoch: last.safetensors, previous.safetensors, best.safetensors "
        "(default: 15)")  # fmt: skip
    add("--resume", nargs="?", const=None, metavar="PATH", help="go on from a checkpoint or an "
        "output folder (default: --output, or else the latest run)")  # fmt: skip
    add("--evaluate", action="store_true", help="only evaluate the checkpoint or run of --resume")
    add("--ten-crop", action=argparse.BooleanOptionalAction, help="average over ten crops: with "
        "--evaluate, or once at the end of the training")  # fmt: skip
    return vars(parser.parse_args())


def resume(given: dict[str, Any], evaluating: bool) -> tuple[Path, Any, dict[str, Any]]:
    """Return a checkpoint's path, what it holds, and the settings to go on with."""
    wanted = given.pop("resume", None) or given.get("output") or latest_run("runs", "alexnet*")
    path, state = Checkpoints.load(wanted, "best" if evaluating else "last", "cpu")
    if not isinstance(state, dict) or not {"options", "versions"} <= set(state):
        raise CheckpointError(f"{path} was not written by this program")
    saved = {**DEFAULTS, **state["options"], "output": str(path.parent)}
    may_change = set(given) if evaluating else MAY_CHANGE
    settings = training.resumed_settings(saved, given, may_change)
    if not evaluating and os.path.realpath(settings["output"]) != os.path.realpath(path.parent):
        new_run(settings["output"])  # that goes its own way from here
    return path, state, settings


def set_up_device(settings: dict[str, Any]) -> minidl.device:
    """Return the device to compute on, set as the options say."""
    if settings["num_threads"]:
        minidl.set_num_threads(settings["num_threads"])
    minidl.cuda.allow_tf32(settings["tf32"])
    best = "gpu" if minidl.cuda.is_available() else "cpu"
    return minidl.device(best if settings["device"] == "auto" else settings["device"])


def run(given: dict[str, Any], interruption: Interruption) -> int:
    """Do what the command line asks for; return the exit status."""
    evaluating = given.pop("evaluate", False)
    if "data" in given:
        given["data"] = os.path.abspath(given["data"])
    state: Any = None
    if evaluating or "resume" in given:
        path, state, settings = resume(given, evaluating)
    else:
        settings = {**DEFAULTS, **given, "output": new_run(given.get("output"), "runs/alexnet")}
    command = shlex.join(["python", *sys.argv])
    settings["command"] = "\n".join(filter(None, [settings.get("command"), command]))
    device = set_up_device(settings)

    train, val, classes = open_data(settings)
    statistics: PixelStatistics | None = getattr(train, "statistics", None)
    if state is None:
        small = "pictures" if settings["data"] else "shapes"
        name = "imagenet" if settings["synthetic"] or len(train) >= 100_000 else small
        settings = {**asdict(RECIPES[name]), **settings, "classes": classes}
    elif settings["classes"] != classes:
        raise DataError(f"{path} was trained on other classes than --data {settings['data']} has")
    elif evaluating:
        known = state["pictures"]["statistics"]
        statistics = known and PixelStatistics(**known)
    options = argparse.Namespace(**settings)
    minidl.manual_seed(options.seed)
    model = alexnet(options.variant, len(classes), options.dropout, options.init).to(device)
    pictures = PictureBatches(
        model, train, val, statistics, options.batch_size, options.workers, options.limit_batches,
        options.output, options.bad_image_budget, options.shared_offset,
    )  # fmt: skip
    if evaluating:
        model.load_state_dict(state["model"])
        crops = "ten crops" if options.ten_crop else "one crop"
        scores = evaluate(model, tqdm(pictures.evaluation(options.ten_crop), "evaluating"))
        print(f"{path} ({crops}): {describe(scores)}")
        return 0
    training.make_folder(options.output)
    trainer = Run(model, pictures, options)
    if state is not None:
        trainer.load(state)
    print(
        f"AlexNet on {device}: {len(train):,} pictures of {len(classes):,} classes to train "
        f"with, {len(val):,} to validate with\n"
        + ", ".join(f"{key} {settings[key]}" for key in (*asdict(Recipe()), "lr_drop_at", "seed"))
        + f"\noutput in {options.output}",
        flush=True,
    )
    return trainer.train(interruption)


def main() -> int:
    """Run the program; return its exit status."""
    warnings.simplefilter("ignore", RuntimeWarning)  # overflow: the loss tells, and is checked
    with Interruption(waits=False) as interruption:
        try:
            return run(parse(), interruption)
        except (ArgumentError, CheckpointError, DataError, DeviceError) as error:
            print(f"{Path(sys.argv[0]).name}: {error}", file=sys.stderr)
            return 2
        except NotFiniteError as error:
            print(f"{error}; nothing of it was saved: try a smaller --lr, or go on from the "
                  "checkpoint before with --resume and --lr-drop-at", file=sys.stderr)  # fmt: skip
            return BROKEN
        except KeyboardInterrupt:  # the second signal, or before the training began
            print("\nstopped at once, without saving; --resume goes on from the last checkpoint, "
                  "if there is one", file=sys.stderr)  # fmt: skip
            return interruption.status


if __name__ == "__main__":
    training.speak_to_nobody()
    sys.exit(main())
