"""Bugs to plant in optimizers and schedules: see ``tests/mutations.py``."""

from __future__ import annotations

#: Name, place, code, replacement, the tests that must fail[, the mode to run them in].
BUGS = [
    (
        "gpu: SGD's velocity forgets the decay",
        "minidl/kernels/cuda/sgd.cu:sgd",
        "if (decay != 0) v -= times(w, decay_rate);",
        "",
        "tests/optim/test_sgd.py::test_three_steps_of_the_paper_by_hand",
        "gpu",
    ),
    (
        "gpu: a second GPU's momenta are made on the first",
        "minidl.optim.optimizer:zeros_like",
        "with active(device_of(array)):",
        "if True:",
        "tests/test_device.py::test_the_gpu_of_a_tensor_is_made_current",
        "gpu",
    ),
    (
        "sgd: the momentum has the wrong sign",
        "minidl.kernels.cpu.sgd:_rule",
        "np.multiply(velocity, momentum, out=velocity)",
        "np.multiply(velocity, -momentum, out=velocity)",
        "tests/optim/test_sgd.py::test_three_steps_of_the_paper_by_hand",
    ),
    (
        "sgd: the paper's weight decay forgets the rate",
        "minidl.kernels.cpu.sgd:_rule",
        "decay * lr",
        "decay",
        "tests/optim/test_sgd.py::test_the_papers_settings_follow_its_formula",
    ),
    (
        "sgd: the first step is damped as well",
        "minidl.kernels.cpu.sgd:_rule",
        "if first:",
        "if False:",
        "tests/optim/test_sgd.py::test_every_combination_of_options",
    ),
    (
        "adam: no bias correction of the first moment",
        "minidl.optim.adam:Adam._prepare",
        "lr / (1 - beta1 ** step)",
        "lr",
        "tests/optim/test_adam.py::test_the_first_step_is_the_rate_whatever_the_gradient",
    ),
    (
        "schedule: StepLR drops one epoch late",
        "minidl.optim.lr_scheduler.functions:StepLR.get_lr",
        "self.last_epoch % self.step_size != 0",
        "self.last_epoch % self.step_size != 1",
        "tests/optim/test_lr_scheduler.py::test_a_schedule_continues_from_last_epoch",
    ),
    (
        "schedule: MultiStepLR drops one epoch early",
        "minidl.optim.lr_scheduler.functions:MultiStepLR.get_lr",
        "self.last_epoch not in self.milestones",
        "self.last_epoch + 1 not in self.milestones",
        "tests/optim/test_lr_scheduler.py::"
        "test_the_papers_three_drops_keep_the_ratio_of_weights_and_biases",
    ),
]
