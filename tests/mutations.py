"""Break the code on purpose, one bug at a time, and see that the tests notice.

``python tests/mutations.py`` copies the package into a temporary folder, plants one of the bugs
listed below, and runs the tests that are meant to catch it; they must go red.  A test that nothing
can turn red proves nothing.

    python tests/mutations.py              # all of them, after a green run without any bug
    python tests/mutations.py lrn pool     # those whose name contains one of the words
    python tests/mutations.py gpu          # those that run on the simulated GPU
    python tests/mutations.py --list

Each bug is one replacement of text that must occur exactly once, so that the list can't rot:
``tests/test_mutations.py`` checks that in every run of the suite.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import on_simulated_gpu

ROOT = Path(__file__).resolve().parent.parent
COPIED = ("minidl", "tests", "examples", "setup.cfg", "pyproject.toml")


@dataclass(frozen=True)
class Mutation:
    """A planted bug: in `file`, `old` becomes `new`, and `tests` must fail."""

    name: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]
    mode: str = "cpu"  # one of MODES


AT_ONCE, SHUFFLED, DEFERRED = on_simulated_gpu.MODES

#: Where the tests run: pytest's arguments, and additions to the environment.
MODES: dict[str, tuple[tuple[str, ...], dict[str, str]]] = {
    "cpu": ((), {}),
    **{
        mode: (("--device=gpu-simulated",), environment)
        for mode, environment in on_simulated_gpu.MODES.items()
    },
}


MUTATIONS: list[Mutation] = [
    # ---- convolution ----
    Mutation(
        "conv: the bias gradient is not summed over the batch",
        "minidl/nn/conv.py",
        "    return dweight, sums[0][:, length].reshape(o)",
        "    return dweight, np.ascontiguousarray(grad[0].sum(axis=(1, 2)))",
        ("tests/nn/test_conv.py::test_batches_that_do_not_divide_into_lanes",),
    ),
    Mutation(
        "conv: the bias is added to the first window only",
        "minidl/nn/conv.py",
        "        columns[:, length] = 1",
        "        columns[:1, length] = 1\n        columns[1:, length] = 0",
        ("tests/nn/test_conv.py::test_lanes_of_several_runs",),
    ),
    Mutation(
        "conv: later rows of the kernel overwrite the first",
        "minidl/nn/conv.py",
        "                        own += more",
        "                        own[...] = more",
        ("tests/nn/test_conv.py::test_a_kernel_row_at_a_time",),
    ),
    Mutation(
        "conv: groups swapped",
        "minidl/nn/conv.py",
        "        own = slice(group * depth, (group + 1) * depth)",
        "        own = slice((groups - 1 - group) * depth, (groups - group) * depth)",
        ("tests/nn/test_conv.py::test_groups_are_convolutions_of_split_channels",),
    ),
    Mutation(
        "conv: the kernel is not turned in the input's gradient",
        "minidl/nn/conv.py",
        "[..., ::-1, ::-1]",
        "",
        ("tests/nn/test_conv.py::test_against_loops",),
    ),
    Mutation(
        "conv: the buffer's border keeps old numbers",
        "minidl/nn/conv.py",
        "    padded[:, :, : rows.start] = 0",
        "    padded[:, :, : rows.start] *= 1",
        ("tests/nn/test_conv.py::test_the_padding_is_zero_whatever_was_computed_before",),
    ),
    Mutation(
        "conv: lanes after the first are left out of the weight's gradient",
        "minidl/nn/conv.py",
        "for other in sums[1:]:",
        "for other in sums[2:]:",
        ("tests/nn/test_conv.py::test_batches_that_do_not_divide_into_lanes",),
    ),
    Mutation(
        "conv: a lane's later runs overwrite the first",
        "minidl/nn/conv.py",
        "                        sums_of_part += more",
        "                        sums_of_part[...] = more",
        ("tests/nn/test_conv.py::test_lanes_of_several_runs",),
    ),
    Mutation(
        "conv: same padding puts the odd pixel in front",
        "minidl/nn/conv.py",
        "before = (total[0] // 2, total[1] // 2)",
        "before = ((total[0] + 1) // 2, (total[1] + 1) // 2)",
        ("tests/nn/test_conv.py::test_against_loops",),
    ),
    Mutation(
        "conv: ceil_mode pads one pixel too few",
        "minidl/nn/conv.py",
        "-(n + 2 * p - d * (k - 1) - 1) % s",
        "max(-(n + 2 * p - d * (k - 1) - 1) % s - 1, 0)",
        ("tests/nn/test_conv.py::test_three_ways_to_55",),
    ),
    Mutation(
        "im2col: windows at the wrong dilation",
        "minidl/nn/im2col.py",
        "slice(kw * dw, kw * dw",
        "slice(kw * dh, kw * dh",
        ("tests/nn/test_im2col.py::test_any_unfold_and_fold",),
    ),
    Mutation(
        "col2im: overwrites instead of adding",
        "minidl/nn/im2col.py",
        "padded[:, :, rows, cols] += columns[:, :, kh, kw]",
        "padded[:, :, rows, cols] = columns[:, :, kh, kw]",
        ("tests/nn/test_im2col.py::test_overlapping_windows_add",),
    ),
    # ---- minimal filtering ----
    Mutation(
        "winograd: badly chosen points",
        "minidl/nn/winograd.py",
        '("0", "3/2", "-3/2", "2/3", "-2/3")',
        '("0", "3", "-3", "4", "-4")',
        ("tests/nn/test_winograd.py::test_the_points_amplify_little",),
    ),
    Mutation(
        "winograd: the input's gradient with kernels that are not turned",
        "minidl/nn/winograd.py",
        "        both = both[:, ::-1]",
        "        both = both[:, ::1]",
        ("tests/nn/test_winograd.py::test_against_loops",),
    ),
    Mutation(
        "winograd: a lane's later runs overwrite the first",
        "minidl/nn/winograd.py",
        "            total += more",
        "            total[...] = more",
        ("tests/nn/test_winograd.py::test_lanes_of_several_runs",),
    ),
    Mutation(
        "winograd: the wrong part of the blocks is the kernel",
        "minidl/nn/winograd.py",
        "    return np.ascontiguousarray(whole[:, :, : shape[2], : shape[3]])",
        "    return np.ascontiguousarray(whole[:, :, -shape[2] :, -shape[3] :])",
        ("tests/nn/test_winograd.py::test_against_loops",),
    ),
    Mutation(
        "conv: a band of rows reads from the image's top",
        "minidl/nn/im2col.py",
        "bands.append(Band(rows, max(first, 0), windows))",
        "bands.append(Band(rows, 0, windows))",
        ("tests/nn/test_conv.py::test_a_few_images_are_cut_into_bands",),
    ),
    # ---- pooling ----
    Mutation(
        "pool: the columns' phases are mixed up",
        "minidl/nn/pooling.py",
        "            own = images[:, own_rows, first - columns.start : own_columns.stop : stride]",
        "            own = images[:, own_rows, p : own_columns.stop : stride]",
        ("tests/nn/test_pooling.py::test_any_max_pool",),
    ),
    Mutation(
        "pool: padding is 0",
        "minidl/nn/pooling.py",
        "        span.read(-math.inf)",
        "        span.read(0)",
        ("tests/nn/test_pooling.py::test_padding_is_minus_infinity",),
    ),
    Mutation(
        "pool: overlapping windows overwrite each other's gradient",
        "minidl/nn/pooling.py",
        "            np.add(total, part, out=total)",
        "            np.copyto(total, part, where=hit)",
        ("tests/nn/test_pooling.py::test_overlapping_windows_add_their_gradients",),
    ),
    Mutation(
        "pool: a tie goes to every maximum",
        "minidl/nn/pooling.py",
        "            np.equal(places[images], number, out=hit)",
        "            np.less_equal(places[images], number, out=hit)",
        ("tests/nn/test_pooling.py::test_ties_go_to_exactly_one_position_the_first",),
    ),
    Mutation(
        "pool: a tie goes to the last maximum",
        "minidl/nn/pooling.py",
        "        np.greater(waiting, holds(span.entry(*entry)), out=waiting)\n"
        "        np.add(places, waiting, out=places)",
        "        held = holds(span.entry(*entry))\n"
        "        number = _entries(span.geometry).index(entry)\n"
        "        places[held] = number\n"
        "        waiting &= ~held",
        ("tests/nn/test_pooling.py::test_ties_go_to_exactly_one_position_the_first",),
    ),
    Mutation(
        "pool: the window is one row short",
        "minidl/nn/pooling.py",
        "        for kh in range(1, kernel_h):\n",
        "        for kh in range(1, max(kernel_h - 1, 1)):\n",
        ("tests/nn/test_pooling.py::test_the_papers_max_pool_in_every_layout",),
    ),
    Mutation(
        "pool: ceil_mode keeps a window that begins in the padding",
        "minidl/nn/pooling.py",
        "if missing and (room + missing) // s * s >= n + p:",
        "if missing and (room + missing) // s * s > n + p:",
        ("tests/nn/test_pooling.py::test_ceil_mode_never_starts_a_window_in_the_right_padding",),
    ),
    Mutation(
        "pool: the overhang of ceil_mode counts in the average",
        "minidl/nn/pooling.py",
        "ends = np.minimum(starts + k, n + p)",
        "ends = starts + k",
        ("tests/nn/test_pooling.py::test_the_overhang_of_ceil_mode_does_not_count",),
    ),
    Mutation(
        "pool: adaptive windows end too early",
        "minidl/nn/pooling.py",
        "-(-(i + 1) * size // out)",
        "(i + 1) * size // out",
        (
            "tests/nn/test_pooling.py::test_adaptive_avg_pool_gradcheck",
            "tests/nn/test_pooling.py::test_any_adaptive_avg_pool",
        ),
    ),
    # ---- normalisation ----
    Mutation(
        "lrn: the cross term of the gradient is dropped",
        "minidl/nn/normalization.py",
        "    np.subtract(direct, s, out=dx)",
        "    np.copyto(dx, direct)",
        ("tests/nn/test_normalization.py::test_gradcheck",),
    ),
    Mutation(
        "lrn: the window misses its last channel",
        "minidl/nn/normalization.py",
        "        for shift in range(1, size):\n            np.add(sums",
        "        for shift in range(1, size - 1):\n            np.add(sums",
        ("tests/nn/test_normalization.py::test_even_and_odd_sizes",),
    ),
    Mutation(
        "lrn: the window of an even size is mirrored",
        "minidl/nn/normalization.py",
        "        before, after = size // 2, (size - 1) // 2\n        if mirrored:\n"
        "            before, after = after, before\n        rows, channels",
        "        before, after = (size - 1) // 2, size // 2\n        if mirrored:\n"
        "            before, after = after, before\n        rows, channels",
        ("tests/nn/test_normalization.py::test_window_of_even_size_begins_half_before",),
    ),
    Mutation(
        "lrn: the backward's window is not mirrored",
        "minidl/nn/normalization.py",
        "    window_sum(cross, s, True)",
        "    window_sum(cross, s, False)",
        ("tests/nn/test_normalization.py::test_gradcheck",),
    ),
    Mutation(
        "lrn: alpha is not divided by the size",
        "minidl/nn/normalization.py",
        "ctx.arguments = (size, alpha / size, beta, k, groups)",
        "ctx.arguments = (size, alpha, beta, k, groups)",
        ("tests/nn/test_normalization.py::test_published_size_of_the_effect",),
    ),
    Mutation(
        "lrn: windows cross the border between groups",
        "minidl/nn/normalization.py",
        "x_rows, out_rows = _rows(x, groups), _rows(out, groups)",
        "groups = 1\n    x_rows, out_rows = _rows(x, groups), _rows(out, groups)",
        ("tests/nn/test_normalization.py::test_groups_are_norms_of_split_channels",),
    ),
    Mutation(
        "spatial norm: alpha is divided by the size, not its square",
        "minidl/nn/normalization.py",
        "alpha / size**2",
        "alpha / size",
        ("tests/nn/test_normalization.py::test_layouts",),
    ),
    Mutation(
        "spatial norm: the backward's window is not mirrored",
        "minidl/nn/normalization.py",
        "before = (size - 1) // 2 if mirrored else size // 2",
        "before = size // 2",
        ("tests/nn/test_normalization.py::test_spatial_gradcheck",),
    ),
    Mutation(
        "batch norm: the running variance is biased",
        "minidl/nn/normalization.py",
        "unbiased = variance * (count / max(count - 1, 1))",
        "unbiased = variance * 1.0",
        (
            "tests/nn/test_normalization.py::"
            "test_running_variance_is_unbiased_and_the_output_is_not",
        ),
    ),
    Mutation(
        "batch norm: the output's variance is unbiased",
        "minidl/nn/normalization.py",
        "variance = cpu.sum_rows(_map_images(square, rows)) / x.dtype.type(count)",
        "variance = cpu.sum_rows(_map_images(square, rows)) / x.dtype.type(count - 1)",
        (
            "tests/nn/test_normalization.py::"
            "test_running_variance_is_unbiased_and_the_output_is_not",
        ),
    ),
    Mutation(
        "batch norm: the mean's part of the gradient is dropped",
        "minidl/nn/normalization.py",
        "            out -= dbias / n",
        "            out -= 0 * dbias / n",
        ("tests/nn/test_normalization.py::test_batch_norm_gradcheck",),
    ),
    Mutation(
        "local: the bias gradient is that of one image",
        "minidl/nn/local.py",
        "grad.sum(axis=0) if need_bias",
        "grad[0] if need_bias",
        ("tests/nn/test_local.py::test_large_batch",),
    ),
    # ---- losses ----
    Mutation(
        "loss: an ignored label counts",
        "minidl/nn/loss.py",
        "ignored = target == ignore_index",
        "ignored = target == -100",
        ("tests/nn/test_loss.py::test_ignored_labels",),
    ),
    Mutation(
        "loss: the mean divides by N, not by the weights",
        "minidl/nn/loss.py",
        "    return q, sample_weight.sum()",
        "    return q, n",
        ("tests/nn/test_loss.py::test_ignored_labels_do_not_count_in_the_mean",),
    ),
    Mutation(
        "loss: label smoothing spreads over the other classes only",
        "minidl/nn/loss.py",
        "x.dtype.type(smoothing / classes)",
        "x.dtype.type(smoothing / max(classes - 1, 1))",
        ("tests/nn/test_loss.py::test_cross_entropy",),
    ),
    Mutation(
        "loss: class probabilities are not smoothed",
        "minidl/nn/loss.py",
        "* (1 - smoothing) + smoothing / classes",
        "",
        ("tests/nn/test_loss.py::test_cross_entropy",),
    ),
    Mutation(
        "loss: the gradient of the mean is that of the sum",
        "minidl/nn/loss.py",
        "            grad = grad / _number(divisor, grad.dtype)",
        "            grad = grad / 1",
        ("tests/nn/test_loss.py::test_gradient_is_probability_minus_truth_over_n",),
    ),
    Mutation(
        "softmax: the maximum is not taken off first",
        "minidl/nn/activation.py",
        "    shifted = x - x.max(axis=axis, keepdims=True)",
        "    shifted = x - 0",
        ("tests/nn/test_activation.py::test_softmax_of_large_numbers",),
    ),
    # ---- dropout ----
    Mutation(
        "dropout: another mask in the backward",
        "minidl/nn/dropout.py",
        "    return grad * factor\n",
        "    return grad * factor[::-1]\n",
        ("tests/nn/test_dropout.py::test_mask_scale_and_gradient",),
    ),
    Mutation(
        "dropout: kept with probability p",
        "minidl/nn/dropout.py",
        "np.greater_equal(words",
        "np.less(words",
        ("tests/nn/test_dropout.py::test_rate",),
    ),
    Mutation(
        "dropout: every block of the mask is the first",
        "minidl/nn/dropout.py",
        "counter=start // _WORDS_PER_COUNTER",
        "counter=0",
        ("tests/nn/test_dropout.py::test_a_large_mask_does_not_repeat",),
    ),
    Mutation(
        "dropout: the plain form does not scale at test",
        "minidl/nn/dropout.py",
        "        return input * (1 - p)",
        "        return input * 1",
        ("tests/nn/test_dropout.py::test_eval_is_deterministic",),
    ),
    # ---- linear ----
    Mutation(
        "linear: the bias gradient is the mean over the batch",
        "minidl/nn/linear.py",
        "dy.sum(axis=0) if need_bias",
        "dy.mean(axis=0) if need_bias",
        ("tests/nn/test_linear.py::test_gradcheck",),
    ),
    # ---- optimizers and schedules ----
    Mutation(
        "sgd: the momentum's sign",
        "minidl/optim/sgd.py",
        "            xp.multiply(velocity, momentum, out=velocity)",
        "            xp.multiply(velocity, -momentum, out=velocity)",
        ("tests/optim/test_sgd.py::test_three_steps_of_the_paper_by_hand",),
    ),
    Mutation(
        "sgd: weight decay pushes the velocity outwards",
        "minidl/optim/sgd.py",
        "                xp.multiply(param, decay * lr, out=work)",
        "                xp.multiply(param, -decay * lr, out=work)",
        ("tests/optim/test_sgd.py::test_the_papers_settings_follow_its_formula",),
    ),
    Mutation(
        "sgd: the paper's weight decay forgets the rate",
        "minidl/optim/sgd.py",
        "decay * lr, out=work",
        "decay, out=work",
        ("tests/optim/test_sgd.py::test_the_papers_settings_follow_its_formula",),
    ),
    Mutation(
        "sgd: the first step is damped as well",
        "minidl/optim/sgd.py",
        "if first:\n                buffer[...] = grad",
        "if False:\n                buffer[...] = grad",
        ("tests/optim/test_sgd.py::test_every_combination_of_options",),
    ),
    Mutation(
        "adam: no bias correction of the first moment",
        "minidl/optim/adam.py",
        "lr / (1 - beta1**step)",
        "lr",
        ("tests/optim/test_adam.py::test_the_first_step_is_the_rate_whatever_the_gradient",),
    ),
    Mutation(
        "schedule: StepLR drops one epoch late",
        "minidl/optim/lr_scheduler.py",
        "self.last_epoch % self.step_size != 0",
        "self.last_epoch % self.step_size != 1",
        ("tests/optim/test_lr_scheduler.py::test_a_schedule_continues_from_last_epoch",),
    ),
    Mutation(
        "schedule: MultiStepLR drops one epoch early",
        "minidl/optim/lr_scheduler.py",
        "if self.last_epoch not in self.milestones:",
        "if self.last_epoch + 1 not in self.milestones:",
        (
            "tests/optim/test_lr_scheduler.py::"
            "test_the_papers_three_drops_keep_the_ratio_of_weights_and_biases",
        ),
    ),
    # ---- data ----
    Mutation(
        "crop: the last offset is never drawn",
        "minidl/vision/transforms/geometry.py",
        "        rng = sample_stream()\n        return int(rng.integers(height - h + 1))",
        "        rng = sample_stream()\n        return int(rng.integers(height - h))",
        ("tests/vision/test_transforms.py::test_random_crop_and_flip_give_all_2178_views",),
    ),
    Mutation(
        "flip: never",
        "minidl/vision/transforms/geometry.py",
        "return hflip(image) if sample_stream().random() < self.p",
        "return hflip(image) if sample_stream().random() > 1",
        ("tests/vision/test_transforms.py::test_random_crop_and_flip_give_all_2178_views",),
    ),
    Mutation(
        "flip: always",
        "minidl/vision/transforms/geometry.py",
        "return hflip(image) if sample_stream().random() < self.p",
        "return hflip(image) if sample_stream().random() < 1",
        ("tests/vision/test_transforms.py::test_random_crop_and_flip_give_all_2178_views",),
    ),
    Mutation(
        "sampler: with replacement by mistake",
        "minidl/data/sampler.py",
        "rng.permutation(size) for _ in range(rounds)",
        "rng.integers(size, size=size) for _ in range(rounds)",
        ("tests/data/test_sampler.py::test_random_is_a_permutation_and_another_one_each_time",),
    ),
    Mutation(
        "augmentation: the same for every sample",
        "minidl/data/stream.py",
        'random.stream(self.seed, "sample", self.epoch, self.place)',
        'random.stream(self.seed, "sample", self.epoch)',
        ("tests/data/test_loader.py::test_a_sample_drawn_twice_is_augmented_twice",),
    ),
    Mutation(
        "augmentation: the same in every epoch",
        "minidl/data/stream.py",
        'random.stream(self.seed, "sample", self.epoch, self.place)',
        'random.stream(self.seed, "sample", self.place)',
        ("tests/data/test_loader.py::test_epochs_differ_in_order_and_augmentation",),
    ),
    Mutation(
        "order: the same in every epoch",
        "minidl/data/stream.py",
        'random.stream(seed, "order", self.epoch, self.draws)',
        'random.stream(seed, "order", self.draws)',
        ("tests/data/test_loader.py::test_epochs_differ_in_order_and_augmentation",),
    ),
    Mutation(
        "accuracy: ties count as right",
        "minidl/vision/metrics.py",
        "(scores > right) | ((scores == right) & (np.arange(classes) < column))",
        "scores > right",
        ("tests/vision/test_metrics.py::test_a_network_that_says_nothing_is_not_right_by_chance",),
    ),
    # ---- checkpoint ----
    Mutation(
        "checkpoint: the tensors' hashes are not checked",
        "minidl/checkpoint.py",
        "if _digest(array) != digests[name]:",
        "if False:",
        ("tests/test_checkpoint.py::test_no_changed_byte_changes_a_value",),
    ),
    Mutation(
        "checkpoint: written in the memory's order",
        "minidl/checkpoint.py",
        'dtype, order="C")',
        "dtype).T.reshape(array.shape)",
        ("tests/test_checkpoint.py::test_memory_that_is_not_c_contiguous",),
    ),
    # ---- gradcheck itself ----
    Mutation(
        "gradcheck: compares with half a difference",
        "minidl/gradcheck.py",
        "/ (2 * eps)",
        "/ eps",
        ("tests/test_gradcheck.py::test_right_function_passes",),
    ),
    Mutation(
        "gradcheck: NaN passes",
        "minidl/gradcheck.py",
        "wrong = ~(np.abs(found - expected) <= atol + rtol * np.abs(expected))",
        "wrong = np.abs(found - expected) > atol + rtol * np.abs(expected)",
        ("tests/test_gradcheck.py::test_nan_is_wrong",),
    ),
    Mutation(
        "gradcheck: the module's own buffers are used",
        "minidl/gradcheck.py",
        "copy.deepcopy(func).double()",
        "func.double()",
        ("tests/test_gradcheck.py::test_module_in_float32_is_checked_in_float64",),
    ),
    # ---- the GPU ----
    Mutation(
        "gpu: conv's windows are written past the end of the columns",
        "minidl/nn/conv.py",
        "for (int row = depth * entries; row < rows; row++, out += windows)",
        "for (int row = depth * entries; row <= rows; row++, out += windows)",
        ("tests/nn/test_conv.py::test_against_loops",),
        AT_ONCE,
    ),
    Mutation(
        "gpu: conv's padding is not written",
        "minidl/nn/conv.py",
        "                *out = inside ? plane[h * width + w] : T(0);",
        "                if (inside) *out = plane[h * width + w];",
        ("tests/nn/test_conv.py::test_against_loops",),
        AT_ONCE,
    ),
    Mutation(
        "gpu: conv's weights are packed into memory of the host",
        "minidl/nn/conv.py",
        "    packed = xp.empty((groups, o // groups, buffer.rows), x.dtype)",
        "    packed = np.empty((groups, o // groups, buffer.rows), x.dtype)",
        ("tests/nn/test_conv.py::test_against_loops",),
        AT_ONCE,
    ),
    Mutation(
        "gpu: conv calls np on an array of the device",
        "minidl/nn/conv.py",
        "    x = cuda.channel_major(x)\n    weight = xp.ascontiguousarray(weight)",
        "    x = cuda.channel_major(x)\n    weight = np.ascontiguousarray(weight)",
        ("tests/nn/test_conv.py::test_against_loops",),
        AT_ONCE,
    ),
    Mutation(
        "gpu: conv's later chunks of images overwrite the first's gradient",
        "minidl/nn/conv.py",
        "packed[group], accumulate=images.start > 0)",
        "packed[group])",
        ("tests/nn/test_conv.py::test_lanes_of_several_runs",),
        AT_ONCE,
    ),
    Mutation(
        "gpu: conv's col2im computes in double precision",
        "minidl/nn/conv.py",
        "                    sum += entry[oh * out_w + ow];",
        "                    sum += entry[oh * out_w + ow] * 1.1 / 1.1;",
        ("tests/test_gpu_kernels.py::test_float32_is_not_computed_in_float64",),
    ),
    Mutation(
        "gpu: a kernel that g++ compiles and NVRTC does not",
        "minidl/nn/conv.py",
        "            const int down = h + top - kh * dilation_h, oh = down / stride_h;",
        "            const int down = h + top - kh * dilation_h, oh = std::abs(down) / stride_h;",
        ("tests/test_gpu_kernels.py::test_compiles_into_registers",),
    ),
    Mutation(
        "gpu: a kernel with a large array of its own",
        "minidl/nn/conv.py",
        "        T sum = 0;\n        for (int kh",
        "        T own[500], sum = 0;\n"
        "        for (int k = 0; k < 500; k++) own[k] = entry[k * rows];\n"
        "        for (int k = 0; k < 500; k++) sum += own[(k * count) % 500] * own[k] * T(0);\n"
        "        for (int kh",
        ("tests/test_gpu_kernels.py::test_compiles_into_registers",),
    ),
    Mutation(
        "gpu: linear's warps add up what the others have not written yet",
        "minidl/nn/linear.py",
        "    partial[warp][lane] = sum;\n    __syncthreads();\n",
        "    partial[warp][lane] = sum;\n",
        ("tests/nn/test_linear.py::test_shapes",),
        SHUFFLED,
    ),
    Mutation(
        "gpu: batch norm's threads halve before the others have",
        "minidl/nn/normalization.py",
        "    for (int half = BLOCK / 2; half > 0; half /= 2) {\n        __syncthreads();\n",
        "    __syncthreads();\n    for (int half = BLOCK / 2; half > 0; half /= 2) {\n",
        ("tests/nn/test_normalization.py::test_batch_norm",),
        SHUFFLED,
    ),
    Mutation(
        "gpu: batch norm's running variance is biased",
        "minidl/nn/normalization.py",
        "all.squares / max(count - 1, 1LL)",
        "all.squares / max(count, 1LL)",
        (
            "tests/nn/test_normalization.py::test_running_variance_is_unbiased_and_the_output_is_not",
        ),
        AT_ONCE,
    ),
    Mutation(
        "gpu: response norm reads a channel too many",
        "minidl/nn/normalization.py",
        "values[SIZE - 1] = i + after < depth ?",
        "values[SIZE - 1] = i + after <= depth ?",
        ("tests/nn/test_normalization.py::test_layouts",),
        AT_ONCE,
    ),
    Mutation(
        "gpu: the pool's window hangs over the image's edge",
        "minidl/nn/pooling.py",
        "                if (w < 0 || w >= width) continue;\n                const T value",
        "                if (w < 0 || w > width) continue;\n                const T value",
        ("tests/nn/test_pooling.py::test_any_max_pool",),
        AT_ONCE,
    ),
    Mutation(
        "gpu: NaN loses against the next number of its window",
        "minidl/nn/pooling.py",
        "(!(value <= best) && best == best)",
        "value > best",
        ("tests/nn/test_pooling.py::test_nan_is_not_lost",),
        AT_ONCE,
    ),
    Mutation(
        "gpu: the gradient of the mean loss is that of the sum",
        "minidl/nn/loss.py",
        "    return mean ? own / totals[1] : own;",
        "    return own;",
        ("tests/nn/test_loss.py::test_gradient_is_probability_minus_truth_over_n",),
        AT_ONCE,
    ),
    Mutation(
        "gpu: the loss subtracts 1 from the wrong class",
        "minidl/nn/loss.py",
        "T(c == label)",
        "T(c == label + 1)",
        ("tests/nn/test_loss.py::test_cross_entropy",),
        AT_ONCE,
    ),
    Mutation(
        "gpu: dropout's backward forgets the scale",
        "minidl/nn/dropout.py",
        "dx[i] = grad[i] * (mask[i] ? scale : T(0));",
        "dx[i] = mask[i] ? grad[i] : T(0);",
        ("tests/nn/test_dropout.py::test_mask_scale_and_gradient",),
        AT_ONCE,
    ),
    Mutation(
        "gpu: numbers reach the kernels in double precision",
        "minidl/cuda.py",
        "        return dtype.type(value)\n    if isinstance(value, np.ndarray)",
        "        return np.float64(value)\n    if isinstance(value, np.ndarray)",
        ("tests/nn/test_normalization.py::test_layouts",),
        AT_ONCE,
    ),
    Mutation(
        "gpu: the optimizers work past the end of a parameter",
        "minidl/cuda_memory.py",
        "stop = min(i - threadIdx.x + %(chunk)dLL, (row).size); i < stop;",
        "stop = min(i - threadIdx.x + %(chunk)dLL, (row).size + 1); i < stop;",
        ("tests/optim/test_sgd.py::test_every_combination_of_options",),
        AT_ONCE,
    ),
    Mutation(
        "gpu: SGD's velocity forgets the decay",
        "minidl/optim/sgd.py",
        "            if (decay != 0) v -= times(w, decay_rate);\n",
        "",
        ("tests/optim/test_sgd.py::test_three_steps_of_the_paper_by_hand",),
        AT_ONCE,
    ),
    Mutation(
        "gpu: a pinned block is written again before its copy",
        "minidl/data/upload.py",
        "                    on_the_way.popleft().wait()",
        "                    on_the_way.popleft()",
        ("tests/data/test_upload.py::test_batches_that_are_dropped_after_use",),
        DEFERRED,
    ),
    Mutation(
        "gpu: a step does not wait for its batch",
        "minidl/cuda.py",
        "        cupy().cuda.get_current_stream().wait_event(self._copied)",
        "        cupy().cuda.get_current_stream()",
        ("tests/data/test_upload.py::test_a_batch_is_there_when_it_is_looked_at",),
        DEFERRED,
    ),
    Mutation(
        "gpu: a batch's memory is in use when it arrives",
        "minidl/cuda.py",
        "            stream.wait_event(xp.cuda.get_current_stream().record())\n",
        "",
        ("tests/data/test_upload.py::test_batches_that_are_dropped_after_use",),
        DEFERRED,
    ),
    Mutation(
        "gpu: a product of no terms is fresh memory",
        "minidl/cuda.py",
        "        if not accumulate:\n            out.fill(0)\n",
        "        if not accumulate:\n            pass\n",
        ("tests/ops/test_matmul.py::test_matmul",),
        AT_ONCE,
    ),
    Mutation(
        "gpu: relu's gradient is a product, so that 0 times infinity gets through",
        "minidl/nn/activation.py",
        "dx[i] = y[i] > 0 ? grad[i] : T(0);",
        "dx[i] = grad[i] * (y[i] > 0);",
        ("tests/nn/test_activation.py::test_relu_blocks_infinite_and_nan_gradients",),
        AT_ONCE,
    ),
]


def run_tests(folder: Path, tests: tuple[str, ...], mode: str) -> subprocess.CompletedProcess[str]:
    """Run pytest on the copy in `folder`, stopping at the first failure."""
    arguments, additions = MODES[mode]
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider"]
    command += [*arguments, *tests]
    environment = {**os.environ, "PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}
    environment.update(additions)
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )


def copy_project(folder: Path) -> None:
    for name in COPIED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        elif source.exists():
            shutil.copy(source, folder / name)


def check(mutation: Mutation, folder: Path) -> str | None:
    """Plant the bug and return None if the tests caught it, or else what is wrong."""
    path = folder / mutation.file
    source = path.read_text(encoding="utf-8")
    count = source.count(mutation.old)
    if count != 1:
        return f"the text to replace occurs {count} times in {mutation.file}, expected once"
    path.write_text(source.replace(mutation.old, mutation.new), encoding="utf-8")
    try:
        result = run_tests(folder, mutation.tests, mutation.mode)
    finally:
        path.write_text(source, encoding="utf-8")
    if result.returncode == 0:
        return "SURVIVED: no test failed"
    if result.returncode != 1:  # not a failed test, but no test found, a syntax error, ...
        return f"pytest ended with code {result.returncode}:\n{result.stdout}{result.stderr}"
    return None


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("words", nargs="*", help="only bugs whose name contains one of these")
    parser.add_argument("--list", action="store_true", help="print the names and stop")
    arguments = parser.parse_args()
    chosen = [
        m for m in MUTATIONS if not arguments.words or any(w in m.name for w in arguments.words)
    ]
    if arguments.list or not chosen:
        print("\n".join(f"{m.name:55} {m.file}" for m in chosen) or "no bug has such a name")
        return 0 if chosen else 2

    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        copy_project(folder)
        for mode in dict.fromkeys(m.mode for m in chosen):
            tests = tuple(dict.fromkeys(t for m in chosen if m.mode == mode for t in m.tests))
            green = run_tests(folder, tests, mode)
            if green.returncode != 0:
                print(f"the tests are not green before any bug is planted:\n{green.stdout}")
                return 2
        failures = 0
        for mutation in chosen:
            start = time.monotonic()
            problem = check(mutation, folder)
            failures += problem is not None
            verdict = "caught" if problem is None else problem
            print(f"{mutation.name:55} {time.monotonic() - start:5.1f} s  {verdict}", flush=True)
    print(f"{len(chosen) - failures} of {len(chosen)} planted bugs caught")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
