"""Draw what a trained AlexNet has learned: the paper's figures and more, alone or on one page.

    python examples/alexnet_figures.py                    (the latest run: its report.html)
    python examples/alexnet_figures.py top5 neighbors     (its top5.png, neighbors.png)
    python examples/alexnet_figures.py --run runs/alexnet-2 --ten-crop --output figures
    python examples/alexnet_figures.py --run FILE filters architecture    (no pictures needed)

The training program draws the same page after each epoch; here it is drawn for the best epoch.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from minidl.training import describe, make_folder, run_program, set_up_device
from minidl.training.command_line import Layout, add_device_options
from minidl.training.signals import Interruption
from minidl.vision import figures
from minidl.vision.metrics import evaluate
from minidl.vision.runs import open_run


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=Layout)
    add = parser.add_argument
    add("figures", nargs="*", metavar="FIGURE", choices=[*figures.FIGURES, []],
        help=f"{', '.join(figures.FIGURES)} (default: report.html, with all of them)")  # fmt: skip
    add("--run", metavar="PATH", help="a run's folder or checkpoint (default: the latest run)")
    add("--data", metavar="DIR", help="where its pictures are (default: where they were; curves, "
        "filters and architecture need none)")  # fmt: skip
    add("--ten-crop", action="store_true", help="evaluate ten crops of each picture, too")
    add("--output", metavar="DIR", help="folder of the figures (default: the run's)")
    add_device_options(add, default="auto")
    parser.set_defaults(device="auto", tf32=False, num_threads=None)
    return parser.parse_args()


def run(interruption: Interruption) -> int:
    """Draw; return the exit status."""
    options = parse()
    device = set_up_device(vars(options))
    needed = not options.figures or not figures.WITHOUT_PICTURES.issuperset(options.figures)
    trained = open_run(options.run, options.data, str(device), pictures=needed)
    source = figures.Source(trained.model, trained.pictures, trained.classes, trained.folder)
    folder = Path(options.output or trained.folder)
    make_folder(str(folder))
    for name in options.figures:
        path = folder / f"{name}{'.svg' if name == 'architecture' else '.png'}"
        print(f"{path}: {figures.save_figure(source, name, path)}")
    if not options.figures:
        for name, ten_crop in (("single crop", False), ("ten crops", True))[: 1 + options.ten_crop]:
            batches = interruption.watch(trained.pictures.evaluation(ten_crop))
            source.scores[name] = evaluate(trained.model, batches)
            print(f"{name}: {describe(source.scores[name])}")
        print(figures.write_page(source, folder / "report.html"))
    return 0


if __name__ == "__main__":
    sys.exit(run_program(run))
