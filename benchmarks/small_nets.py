"""A training step of small networks: "80sec" on CIFAR-10's pictures, LeNet-5 on MNIST's."""

from __future__ import annotations

from harness import Report, Settings
from publish import main
from train_step import contest, figures, steps_table

#: The batch size of each network.
NETWORKS = {"80sec": 128, "lenet5": 64}


def measure(settings: Settings) -> Report:
    """Train like the other networks."""
    report = Report("Small networks")
    for variant, usual in NETWORKS.items():
        for count in settings.counts((usual,), (usual,), (2,)):
            results = contest(settings, variant, count, report, repeat=settings.pick(30, 20, 1))
            report.tables.append(f"{variant}, batch {count}\n\n" + steps_table(results, count))
            report.figures += figures(results, variant, count)
    return report


if __name__ == "__main__":
    main(measure, __doc__)
