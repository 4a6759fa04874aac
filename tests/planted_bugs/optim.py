"""Bugs to plant in optimizers and schedules: see ``tests/mutations.py``."""

from __future__ import annotations

#: Name, file, text, what takes its place, the tests that must go red.
BUGS = [
    (
        "sgd: the momentum's sign",
        "minidl/optim/sgd.py",
        "            xp.multiply(velocity, momentum, out=velocity)",
        "            xp.multiply(velocity, -momentum, out=velocity)",
        ("tests/optim/test_sgd.py::test_three_steps_of_the_paper_by_hand",),
    ),
    (
        "sgd: weight decay pushes the velocity outwards",
        "minidl/optim/sgd.py",
        "                xp.multiply(param, decay * lr, out=work)",
        "                xp.multiply(param, -decay * lr, out=work)",
        ("tests/optim/test_sgd.py::test_the_papers_settings_follow_its_formula",),
    ),
    (
        "sgd: the paper's weight decay forgets the rate",
        "minidl/optim/sgd.py",
        "decay * lr, out=work",
        "decay, out=work",
        ("tests/optim/test_sgd.py::test_the_papers_settings_follow_its_formula",),
    ),
    (
        "sgd: the first step is damped as well",
        "minidl/optim/sgd.py",
        "if first:\n                buffer[...] = grad",
        "if False:\n                buffer[...] = grad",
        ("tests/optim/test_sgd.py::test_every_combination_of_options",),
    ),
    (
        "adam: no bias correction of the first moment",
        "minidl/optim/adam.py",
        "lr / (1 - beta1**step)",
        "lr",
        ("tests/optim/test_adam.py::test_the_first_step_is_the_rate_whatever_the_gradient",),
    ),
    (
        "schedule: StepLR drops one epoch late",
        "minidl/optim/lr_scheduler.py",
        "self.last_epoch % self.step_size != 0",
        "self.last_epoch % self.step_size != 1",
        ("tests/optim/test_lr_scheduler.py::test_a_schedule_continues_from_last_epoch",),
    ),
    (
        "schedule: MultiStepLR drops one epoch early",
        "minidl/optim/lr_scheduler.py",
        "if self.last_epoch not in self.milestones:",
        "if self.last_epoch + 1 not in self.milestones:",
        (
            "tests/optim/test_lr_scheduler.py::"
            "test_the_papers_three_drops_keep_the_ratio_of_weights_and_biases",
        ),
    ),
]
