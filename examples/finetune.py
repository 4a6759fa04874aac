"""Fine-tune a trained network on a folder of your own pictures.

    python examples/finetune.py --weights alexnet.pth --data FOLDER      (FOLDER/<class>/*.jpg)
    python examples/finetune.py --weights bvlc_alexnet.npy --data FOLDER --freeze conv1 conv2 conv3
    python examples/finetune.py --weights runs/alexnet --train-list train.txt --val-list val.txt
    python examples/finetune.py --evaluate                               (the latest run's best net)

The last layer is made anew for your classes and trained from scratch (--scratch names more). Frozen
layers stay as they are, bit for bit; the others are trained at a tenth of the rate, or what --rate
says. Each epoch ends with a checkpoint, curves and report.html, the run with a table of the classes
and a confusion matrix.
"""

from __future__ import annotations

import argparse
import os
import sys
from dataclasses import asdict, replace
from typing import Any

import alexnet_imagenet
import numpy as np
from alexnet_imagenet import DEFAULTS, MAY_CHANGE, SMALL

from minidl import manual_seed, training
from minidl.errors import ArgumentError
from minidl.training import command_line
from minidl.vision import picture_options
from minidl.vision.datasets.decoding import shown
from minidl.vision.datasets.opening import check_classes
from minidl.vision.models.rows import RowNet
from minidl.vision.predictions import Predictions
from minidl.vision.runs import make_network, make_pictures, open_data, open_network
from minidl.vision.transforms.presets import alexnet_preprocessing
from minidl.vision.weights.files import read

RECIPE = replace(SMALL, epochs=10, lr=0.01, warmup=0)


class FineTuning(alexnet_imagenet.Run):
    """Trains some layers of a trained network."""

    def groups(self, model: RowNet, options: Any) -> list[dict[str, Any]]:
        """Return the layers that are trained, each with its rate; freeze the others."""
        groups: list[dict[str, Any]] = []
        for name, layer in model.named_rows().items():
            if name in options.freeze:
                layer.requires_grad_(False)
                continue
            factor = options.rates.get(name, 1.0 if name in options.scratch else 0.1)
            rate, common = options.lr * factor, {"first_layer": False}
            groups += [
                {"params": [layer.weight], "lr": rate, "weight_decay": options.weight_decay,
                 "bias": False, **common},
                {"params": [layer.bias], "lr": 2 * rate, "weight_decay": 0.0, "bias": True,
                 **common},
            ]  # fmt: skip
        return groups

    def finish(self) -> None:
        """Report, and print how well each class is recognized."""
        if self.seen is None:  # the run was finished before
            self.validate()
        super().finish()
        if self.seen:
            print(f"\n{table(self.seen.predictions(), self.options.classes)}")


def table(found: Predictions, names: list[str]) -> str:
    """Return for each class its pictures, how many are right, and what the others are taken for."""
    counts, names = found.confusion(), [shown(name) for name in names]
    width = max(len(name) for name in [*names, "class"])
    lines = [f"{'class':{width}}  pictures    right  most often taken for"]
    for label, (name, row) in enumerate(zip(names, counts, strict=True)):
        wrong = np.where(np.arange(len(row)) == label, 0, row)
        taken = f"{names[int(wrong.argmax())]} ({wrong.max()})" if wrong.any() else ""
        right = f"{row[label] / row.sum():7.1%}" if row.sum() else "      –"
        lines.append(f"{name:{width}}  {row.sum():8}  {right}  {taken}".rstrip())
    if len(names) <= 20:
        lines += ["", "confusion matrix (rows: right class, columns: answer, in the same order)"]
        lines += [" ".join(f"{count:4}" for count in row) for row in counts]
    return "\n".join(lines)


def parse() -> dict[str, Any]:
    """Return only the options given on the command line."""
    parser = command_line.make_parser(__doc__)
    add = parser.add_argument_group("network").add_argument
    add("--weights", metavar="FILE", help="what `python -m minidl inspect` can read, or a run")
    add("--variant", help="of the weights, where the file does not tell")
    add("--scratch", nargs="+", metavar="LAYER", help="train from scratch, beside the last")
    add("--freeze", nargs="+", metavar="LAYER", help="leave as they are, such as conv1 conv2")
    add("--rate", nargs="+", metavar="LAYER=FACTOR", help="a layer's rate, as a multiple of --lr "
        "(default: 1 from scratch, 0.1 otherwise)")  # fmt: skip
    add("--dropout", type=command_line.at_least(0.0), metavar="P")
    picture_options.add_picture_options(parser)
    add = parser.add_argument_group("lists of pictures, instead of --data").add_argument
    for name in ("train", "val"):
        add(f"--{name}-list", type=os.path.abspath, metavar="FILE", help="lines 'path label'")
    add("--classes-file", type=os.path.abspath, metavar="FILE", help="names of the classes")
    command_line.add_optimization_options(parser)
    command_line.add_run_options(parser, "runs/finetune")
    return vars(parser.parse_args())


def start(settings: dict[str, Any], classes: list[str]) -> tuple[RowNet, dict[str, Any]]:
    """Return the network of a new run, and its settings."""
    if not settings.get("weights"):
        raise ArgumentError("expected --weights FILE, the network to begin with; see --help")
    source, weights, _ = open_network(read(settings["weights"]), settings.get("variant"))
    rows = source.named_rows()
    settings = {"freeze": [], "scratch": [], "rate": [], **settings, "variant": source.variant}
    settings["scratch"] = [*dict.fromkeys([*settings["scratch"], list(rows)[-1]])]
    settings["rates"] = dict(_rate(text) for text in settings["rate"])
    for name in (*settings["freeze"], *settings["scratch"], *settings["rates"]):
        if name not in rows:
            raise ArgumentError(f"there is no layer {name!r} among {', '.join(rows)}")
    for name in settings["freeze"]:
        if name in settings["scratch"]:
            raise ArgumentError(f"{name} can't be both frozen and trained from scratch")
        if name in settings["rates"]:
            raise ArgumentError(f"{name} can't be both frozen and trained at a rate")
    size, scale = source.input_size[-1], source.input_scale
    known = source.preprocessing or alexnet_preprocessing(size, scale, None)
    settings["preprocessing"] = known.to_dict()
    settings["network"] = {k: v for k, v in weights.options.items() if k != "dropout"}
    manual_seed(settings["seed"])
    model = make_network(settings, len(classes))
    for name, layer in model.named_rows().items():
        if name not in settings["scratch"]:
            layer.load_state_dict(rows[name].state_dict())
    return model, settings


def _rate(text: str) -> tuple[str, float]:
    name, _, factor = text.partition("=")
    try:
        return name, command_line.at_least(0.0)(factor)
    except argparse.ArgumentTypeError as error:
        raise ArgumentError(
            f"--rate: expected LAYER=FACTOR, such as fc7=0.1, got {text!r}: {error}"
        ) from None


def run(interruption: training.Interruption) -> int:
    """Fine-tune, as the command line says; return the exit status."""
    given = parse()
    if given.get("evaluate"):
        of = given.get("resume") or given.get("output") or training.latest_run("runs", "finetune*")
        return alexnet_imagenet.run(interruption, {**given, "resume": str(of)})
    settings, path, state = training.begin(given, DEFAULTS, MAY_CHANGE, "runs/finetune")
    device = training.set_up_device(settings)
    train, val, classes = open_data(settings)
    if state is None:
        settings = {**asdict(RECIPE), "variant": None, **settings, "classes": classes}
        model, settings = start(settings, classes)
    else:
        check_classes(path, settings["classes"], settings, classes)
        model = make_network(settings, len(classes))
    pictures = make_pictures(model.to(device), train, val, None, settings)
    training.make_folder(settings["output"])
    trainer = FineTuning(model, pictures, argparse.Namespace(**settings))
    if state is not None:
        trainer.load(state)
    print(
        f"{settings['variant']} on {device}: {len(train):,} pictures of {len(classes):,} classes; "
        f"from scratch: {', '.join(settings['scratch'])}; frozen: "
        f"{', '.join(settings['freeze']) or 'none'}\noutput in {settings['output']}",
        flush=True,
    )
    return trainer.train(interruption)


if __name__ == "__main__":
    training.speak_to_nobody()
    sys.exit(training.run_program(run))
