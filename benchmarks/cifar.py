"""A training step of cuda-convnet's "80sec" network on pictures of CIFAR-10's size."""

from __future__ import annotations

from harness import Report, Settings
from publish import main
from train_step import contest, figures, steps_table


def measure(settings: Settings) -> Report:
    """Train like the other networks."""
    report = Report("CIFAR-10")
    for count in settings.counts((128,), (128,), (2,)):
        results = contest(settings, "80sec", count, report, repeat=settings.pick(30, 20, 1))
        report.tables.append(f"80sec, batch {count}\n\n" + steps_table(results, count))
        report.figures += figures(results, "80sec", count)
    return report


if __name__ == "__main__":
    main(measure, __doc__)
