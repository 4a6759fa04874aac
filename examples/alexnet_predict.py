"""Classify pictures with a trained AlexNet, or write a submission to ILSVRC-2012.

    python examples/alexnet_predict.py cat.jpg holiday/             (the latest run's best network)
    python examples/alexnet_predict.py --checkpoint alexnet.pth --classes names.txt cat.jpg
    python examples/alexnet_predict.py --submission test.txt --devkit DIR ILSVRC2012_img_test/
    python examples/alexnet_predict.py --check test.txt

Folders are searched to any depth, in order of names. A picture that can't be read is reported on
stderr, the others are processed, and the exit status is 1. A submission must have a line for every
picture; for an unreadable one, it is the network's prediction for a black picture.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

import minidl
from minidl.data import DataLoader, Dataset, DeviceBatches
from minidl.errors import ArgumentError, CheckpointError, DataError, DeviceError
from minidl.nn.functional import softmax
from minidl.training import Bar, latest_run
from minidl.training.command_line import Layout
from minidl.vision import submission
from minidl.vision.datasets.decoding import pil_loader, shown
from minidl.vision.datasets.folder import DOCUMENTS, has_image_extension, is_hidden
from minidl.vision.datasets.opening import describe_skipped
from minidl.vision.metrics import class_scores
from minidl.vision.models.rows import RowNet
from minidl.vision.runs import open_network, read_lines
from minidl.vision.statistics import PixelStatistics
from minidl.vision.transforms.presets import alexnet_evaluation, alexnet_finish
from minidl.vision.weights.files import read


class Pictures(Dataset):
    """Pictures by path; the second item of a sample is its error, or empty."""

    def __init__(self, paths: list[str], transform: Any, exif: bool) -> None:
        self.paths, self.transform, self.exif = paths, transform, exif

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> tuple[Any, str]:
        try:
            return self.transform(pil_loader(self.paths[index], exif=self.exif)), ""
        except DataError as error:
            return self.transform(Image.new("RGB", (256, 256))), str(error)


def find_pictures(places: Iterable[str]) -> list[str]:
    """Return the given files, and the pictures in the given folders; say what is skipped."""

    def refuse(error: OSError) -> None:
        raise DataError(f"the folder {shown(error.filename)} can't be read: {error.strerror}")

    paths, others = list[str](), Counter[str]()
    for place in places:
        if not os.path.isdir(place):
            paths.append(place)
            continue
        before = len(paths)
        for folder, inside, names in os.walk(place, onerror=refuse):
            inside[:] = sorted(name for name in inside if not is_hidden(name))
            names = [name for name in names if not is_hidden(name)]
            paths += [os.path.join(folder, n) for n in sorted(names) if has_image_extension(n)]
            others.update(Path(n).suffix.lower() for n in names if not has_image_extension(n))
        if len(paths) == before:
            raise DataError(f"there are no pictures in the folder {shown(place)}")
    for kind in DOCUMENTS:
        others.pop(kind, None)
    if skipped := describe_skipped(others):
        print(f"{Path(sys.argv[0]).name}: {skipped}", file=sys.stderr)
    return paths


class Network(NamedTuple):
    """A trained network, the names of its classes, and the statistics of its training pictures."""

    model: RowNet
    classes: list[str]
    statistics: PixelStatistics | None


def load_network(options: argparse.Namespace) -> Network:
    """Load the network given by ``--checkpoint`` and related options."""
    content = read(options.checkpoint or latest_run("runs", "alexnet*"))
    path, state = content.path, content.value
    run: Any = state.get("options") if isinstance(state, dict) else None
    if run is not None and options.variant:
        raise ArgumentError(f"--variant: {path} already says {run['variant']!r}; omit it")
    model, weights, statistics = open_network(content, options.variant)
    if model.input_size[0] != 3:
        raise ArgumentError(f"{path}: {weights.variant} takes gray pictures, not colored ones")
    classes = read_lines(options.classes) if options.classes else weights.classes
    if classes is None:
        raise ArgumentError(
            f"{path} holds only weights: add --classes FILE, the names of the network's outputs in "
            "order, one per line"
        )
    if len(classes) != weights.num_classes:
        raise CheckpointError(f"{path} has {weights.num_classes} classes, not {len(classes)}")
    return Network(model, classes, statistics)


def predict(
    network: Network, paths: list[str], options: argparse.Namespace
) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """Yield each picture's error, best classes and all probabilities."""
    model, _, statistics = network
    size, scale = model.input_size[-1], model.input_scale
    device = next(model.parameters()).device
    if (expected := model.preprocessing) is not None and statistics is None:
        crop = expected.transforms(options.ten_crop, raw=True)
        finish: Any = expected.finish()
    else:
        crop = alexnet_evaluation(size, scale, options.ten_crop, raw=True, statistics=statistics)
        finish = alexnet_finish(scale, statistics, size)
    exif = not options.submission if options.exif is None else options.exif
    loader = DataLoader(
        Pictures(paths, crop, exif), options.batch_size, num_workers=options.workers,
        pin_memory=device.type == "gpu",
    )  # fmt: skip
    for images, errors in DeviceBatches(loader, device, finish):
        with minidl.no_grad():
            scores = class_scores(model, images)
            probabilities = softmax(scores, 1).cpu().numpy()
        best = submission.best_classes(scores.cpu().numpy())
        yield from zip(errors, best, probabilities, strict=True)


def show(path: str, names: list[str], probabilities: np.ndarray, as_json: bool) -> None:
    """Print the best classes of a picture."""
    answer = {"file": path, "classes": names, "probabilities": probabilities.tolist()}
    lines = [
        f"{100 * p:8.2f} %  {shown(name)}" for name, p in zip(names, probabilities, strict=True)
    ]
    print(json.dumps(answer) if as_json else "\n".join([shown(path), *lines, ""]), flush=True)


def classify(options: argparse.Namespace) -> int:
    """Classify the pictures, or write a submission; return the exit status."""
    paths = find_pictures(options.pictures)
    target, program = options.submission, Path(sys.argv[0]).name
    if target:  # find mistakes before doing the work
        submission.line_order(paths)
        if not options.devkit:
            raise ArgumentError("--submission needs --devkit PATH, for the IDs of the classes")
        if not Path(target).absolute().parent.is_dir():
            raise DataError(f"--submission {target}: its folder does not exist")
    network = load_network(options)
    names, ids = network.classes, list[int]()
    if options.devkit:
        known = submission.read_classes(options.devkit)
        ids = submission.class_ids(names, known) if target else ids
        names = [", ".join(known.words.get(name, (name,))) for name in names]
    auto = "gpu" if minidl.cuda.is_available() else "cpu"
    network.model.to(minidl.device(auto if options.device == "auto" else options.device))

    bad, answers = 0, np.zeros((len(paths), min(5, len(names))), np.int64)
    watched = Bar(predict(network, paths, options), "pictures", len(paths), disable=not target)
    for index, (error, labels, probabilities) in enumerate(watched):
        answers[index] = labels
        if error:
            bad += 1
            Bar.write(f"{program}: {error}", sys.stderr)
        elif not target:
            show(paths[index], [names[i] for i in labels], probabilities[labels], options.json)
    if target:
        if bad == len(paths):
            raise DataError("none of the pictures can be read, so no submission is written")
        submission.write_submission(target, paths, answers, ids)
        print(f"{len(paths):,} lines written to {target}")
    if bad:
        guessed = "; their lines are predictions for a black picture" if target else ""
        Bar.write(f"{program}: {bad:,} of {len(paths):,} can't be read{guessed}", sys.stderr)
    return 1 if bad else 0


def check(path: str, lines: int) -> int:
    """Print the problems of a submission; return the exit status."""
    problems = submission.check_submission(path, lines)
    said = problems[:20] or [f"a submission for {lines:,} pictures"]
    print(*(f"{path}: {line}" for line in said), sep="\n")
    if len(problems) > 20:
        print(f"and {len(problems) - 20:,} more")
    return 1 if problems else 0


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=Layout)
    parser.add_argument("pictures", nargs="*", metavar="PICTURE", help="a file or a folder")
    add = parser.add_argument_group("network").add_argument
    add("--checkpoint", metavar="PATH", help="a run's folder, or a file of weights: .safetensors, "
        ".pth, .npz, .npy, .caffemodel (default: latest run)")  # fmt: skip
    add("--variant", metavar="NAME", help="variant of weights that fit several")
    add("--classes", metavar="FILE", help="names of the classes, one per line (default: the run's)")
    add("--ten-crop", action="store_true", help="average over ten crops (default: one)")
    add("--exif", action=argparse.BooleanOptionalAction, help="turn pictures as EXIF says "
        "(default: except for --submission)")  # fmt: skip
    add("--device", default="auto", help="auto, cpu, gpu or gpu:N (default: auto)")
    add("--batch-size", type=int, default=32, metavar="N", help="pictures at a time (default: 32)")
    add("--workers", type=int, default=2, metavar="N", help="decoding processes (default: 2)")
    add = parser.add_argument_group("output").add_argument
    add("--json", action="store_true", help="print one JSON object per line instead of a table")
    add("--submission", metavar="FILE", help="write the predictions in ILSVRC-2012's format")
    add("--devkit", metavar="PATH", help="names and IDs of ILSVRC-2012's classes: the kit, or a "
        "text file with lines '449 n01440764 tench, Tinca tinca'")  # fmt: skip
    add = parser.add_argument_group("existing submissions").add_argument
    add("--check", metavar="FILE", help="print a submission's problems")
    add("--lines", type=int, default=100_000, metavar="N",
        help="number of lines that it must have (default: 100,000)")  # fmt: skip
    add("--score", metavar="FILE", help="print a submission's errors")
    add(
        "--labels", metavar="FILE", help="for --score: the correct ID of each picture, one per line"
    )
    return parser.parse_args()


def main() -> int:
    """Run the program; return its exit status."""
    try:
        options = parse()
        if options.check:
            return check(options.check, options.lines)
        if options.score and options.labels:
            found = submission.score_submission(options.score, options.labels)
            print("top-1 error {top1_error:.2f} %, top-5 error {top5_error:.2f} %".format(**found))
            return 0
        if options.score:
            raise ArgumentError("--score needs --labels FILE, with a line for each picture")
        if not options.pictures:
            raise ArgumentError("expected pictures or folders of pictures; see --help")
        return classify(options)
    except (ArgumentError, CheckpointError, DataError, DeviceError) as error:
        print(f"{Path(sys.argv[0]).name}: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # the reader of stdout, such as head, has closed it
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141


if __name__ == "__main__":
    sys.exit(main())
