"""Train AlexNet on ImageNet, on a folder of your own pictures, or on drawn ones for a first try.

    python examples/alexnet_imagenet.py                           (Shapes: ten classes, no download)
    python examples/alexnet_imagenet.py --data DIR --device gpu   (DIR/train/<class>/<picture>.jpg)
    python examples/alexnet_imagenet.py --resume                  (continue the last run)

Start reading at ``Run.train_epoch``, the training loop. The code around the loop, such as
checkpoints, logs and Ctrl-C, is in ``minidl/training/run.py``.
"""

from __future__ import annotations

import argparse
import os
import sys
from dataclasses import asdict, dataclass, replace
from typing import Any

from minidl import manual_seed, training
from minidl.nn.functional import cross_entropy
from minidl.optim import SGD
from minidl.training import Bar, command_line, describe
from minidl.training.schedules import has_color_noise, make_scheduler, parameter_groups
from minidl.vision import figures, picture_options
from minidl.vision.batches import PictureBatches
from minidl.vision.datasets.opening import check_classes
from minidl.vision.metrics import accuracy, evaluate
from minidl.vision.models.rows import RowNet
from minidl.vision.predictions import Recorder
from minidl.vision.runs import make_network, make_pictures, open_data, suit_towers
from minidl.vision.weights.layouts import statistics_of


@dataclass(frozen=True)
class Recipe:
    """The settings of a run; options on the command line override them."""

    variant: str = "paper"
    init: str | None = None  # default: the variant's own
    epochs: int = 90
    batch_size: int = 128
    lr: float = 0.01  # of weights; biases have twice this rate, and no decay
    schedule: str = "paper"
    warmup: int = 0  # steps in which the rate rises from 0
    momentum: float = 0.9
    weight_decay: float = 5e-4
    dropout: float = 0.5
    color_jitter: bool = True


# The paper's initial values need many steps before the loss falls; "he" suits fewer pictures.
SMALL = Recipe(init="he", batch_size=32, schedule="cosine", warmup=30, color_jitter=False)
RECIPES = {
    "imagenet": Recipe(),  # the paper's; for 100,000 pictures or more, and for --synthetic
    "pictures": replace(SMALL, epochs=30),  # for fewer pictures
    "shapes": replace(SMALL, init="clear", lr=0.015, epochs=3),  # without --data; minutes on a CPU
}
DEFAULTS = {**picture_options.DEFAULTS, **command_line.DEFAULTS}
MAY_CHANGE = picture_options.MAY_CHANGE | command_line.MAY_CHANGE


class Run(training.Run):
    """Trains AlexNet. The base class saves, resumes, logs, and stops after a signal."""

    model: RowNet
    data_advice = ", or add --on-bad-image skip (and --bad-image-budget N)"

    def __init__(self, model: RowNet, pictures: PictureBatches, options: Any) -> None:
        groups = self.groups(model, options)
        optimizer = SGD(groups, momentum=options.momentum, rate_in_velocity=True)
        scheduler = make_scheduler(
            optimizer, options.schedule, options.epochs, len(pictures), options.warmup,
            options.lr_drop_at,
        )  # fmt: skip
        super().__init__(model, optimizer, scheduler, options, len(pictures), pictures=pictures)
        self.pictures = pictures
        self.seen: Recorder | None = None  # the predictions of the last validation

    def groups(self, model: RowNet, options: Any) -> list[dict[str, Any]]:
        """Return the parameters with their rates and decays."""
        first, *_ = model.named_rows().values()
        groups = parameter_groups(model, first, options.lr, options.weight_decay)
        for group in groups:
            group["lr"] *= model.conv1_rate if group["first_layer"] else 1
        return groups

    def train_epoch(self) -> float:
        """Train for an epoch, or the rest of one; return the images per second."""
        noise = has_color_noise(self.options.schedule, self.epoch / self.options.epochs)
        jitter = self.options.color_jitter and noise
        self.model.train()
        with self.progress(self.pictures.training(self.epoch, self.batch, jitter)) as batches:
            for images, labels in batches:
                self.optimizer.zero_grad()
                with self.autocast():
                    logits = self.model(images)
                    loss = cross_entropy(logits, labels)
                self.check_loss(loss, images)
                self.scaler.scale(loss).backward()
                self.scaler.step(self.optimizer)
                self.scaler.update()
                self.end_step(images, loss, *accuracy(logits, labels))
        return batches.speed

    def validate(self, ten_crop: bool = False) -> dict[str, float]:
        """Return the loss and the accuracies on the validation pictures."""
        batches = self.interruption.watch(self.pictures.shared_evaluation(ten_crop))
        self.seen = Recorder()
        scores = evaluate(self.model, batches, record=self.seen)
        self.seen.gather()
        return scores

    def draw(self, **more: dict[str, float]) -> None:
        """Draw the first layer's filters, the learning curves, and the page of all figures."""
        output, scores = self.options.output, {"single crop": self.last_scores(), **more}
        seen, names = self.seen.predictions() if self.seen else None, self.options.classes
        source = figures.Source(self.model, self.pictures, names, output, scores, seen)
        figures.save_all(self.model, self.log.path, output, source, self.options.report)

    def finish(self) -> None:
        """Report the final scores (with --ten-crop, over ten crops, too) and the bad pictures."""
        final = {"single crop": self.last_scores()}
        if self.options.ten_crop:
            final["ten crops"] = self.validate(ten_crop=True)
            with self.leniency.writing("the figures"):
                self.draw(**final)
        bad, output = self.pictures.bad, self.options.output
        self.write_report(final, bad_pictures=len(bad.found))
        if bad.found:
            print(f"pictures that could not be read: {len(bad.found)}, listed in {bad.path}")
        print(f"written to {output}:", *sorted(os.listdir(output)))


def parse() -> dict[str, Any]:
    """Return only the options given on the command line."""
    parser = command_line.make_parser(__doc__, f"""\
To divide the rate by 10 by hand, stop the run, say in epoch 23, and --resume --lr-drop-at 23; the
next time, --lr-drop-at 23 51.

The default recipe is shapes without --data, pictures for fewer than 100,000 pictures, imagenet for
more or with --synthetic:

{command_line.table_of_recipes(RECIPES)}""")  # fmt: skip
    picture_options.add_picture_options(parser)
    add = parser.add_argument_group("network (default: the recipe's)").add_argument
    add("--variant", help="paper, original, single-tower, caffe, caffenet, torchvision, slim, "
        "half, six-conv or cifar")  # fmt: skip
    add("--init", help="paper, original, caffe, caffenet, slim, torch, he or clear "
        "(None in a recipe: the variant's own)")  # fmt: skip
    add("--dropout", type=command_line.at_least(0.0), metavar="P",
        help="probability of dropping a unit of fc6, fc7")  # fmt: skip
    command_line.add_optimization_options(parser)
    add = command_line.add_run_options(parser, "runs/alexnet", parallel=True)
    add("--ten-crop", action=argparse.BooleanOptionalAction, help="average over ten crops, with "
        "--evaluate or at the end of the training")  # fmt: skip
    return vars(parser.parse_args())


def run(interruption: training.Interruption, given: dict[str, Any] | None = None) -> int:
    """Train or evaluate, as the given options or the command line say; return the exit status."""
    given = parse() if given is None else given
    evaluating = given.pop("evaluate", False)
    settings, path, state = training.begin(given, DEFAULTS, MAY_CHANGE, "runs/alexnet", evaluating)
    picture_options.suit_older_run(settings, given, state)
    device = training.set_up_device(settings)
    train, val, classes = open_data(settings)
    statistics = getattr(train, "statistics", None)
    if state is None:
        small = "pictures" if settings["data"] else "shapes"
        name = "imagenet" if settings["synthetic"] or len(train) >= 100_000 else small
        settings = suit_towers({**asdict(RECIPES[name]), **settings, "classes": classes})
    else:
        check_classes(path, settings["classes"], settings, classes)
        statistics = statistics_of(state, str(path)) if evaluating else statistics
    options = argparse.Namespace(**settings)
    manual_seed(options.seed)
    model = make_network(settings, len(classes)).to(device)
    pictures = make_pictures(model, train, val, statistics, settings)
    if evaluating:
        model.load_state_dict(state["model"])
        scores = evaluate(model, Bar(pictures.shared_evaluation(options.ten_crop), "evaluating"))
        print(f"{path} ({'ten crops' if options.ten_crop else 'one crop'}): {describe(scores)}")
        return 0
    training.make_folder(options.output)
    trainer = Run(model, pictures, options)
    if state is not None:
        trainer.load(state)
    shown = (f"{key} {settings[key]}" for key in (*asdict(SMALL), "lr_drop_at", "seed"))
    print(
        f"AlexNet on {device}: {len(train):,} pictures of {len(classes):,} classes to train "
        f"with, {len(val):,} to validate with\n{', '.join(shown)}\noutput in {options.output}",
        flush=True,
    )
    return trainer.train(interruption)


if __name__ == "__main__":
    training.speak_to_nobody()
    sys.exit(training.run_program(run, on_stop="stopped at once, without saving; --resume goes on "
                                  "from the last checkpoint, if there is one"))  # fmt: skip
