"""Bugs to plant in data sets, samplers and loaders: see ``tests/mutations.py``."""

from __future__ import annotations

#: Name, file, text, what takes its place, the tests that must go red.
BUGS = [
    (
        "crop: the last offset is never drawn",
        "minidl/vision/transforms/geometry.py",
        'shared_stream(shared, "crop")\n    return int(rng.integers(height - h + 1))',
        'shared_stream(shared, "crop")\n    return int(rng.integers(height - h))',
        ("tests/vision/test_transforms.py::test_random_crop_and_flip_give_all_2178_views",),
    ),
    (
        "flip: never",
        "minidl/vision/transforms/geometry.py",
        "return bool(rng.random() < self.p)",
        "return bool(rng.random() > 1)",
        ("tests/vision/test_transforms.py::test_random_crop_and_flip_give_all_2178_views",),
    ),
    (
        "flip: always",
        "minidl/vision/transforms/geometry.py",
        "return bool(rng.random() < self.p)",
        "return bool(rng.random() < 1)",
        ("tests/vision/test_transforms.py::test_random_crop_and_flip_give_all_2178_views",),
    ),
    (
        "sampler: with replacement by mistake",
        "minidl/data/sampler.py",
        "rng.permutation(size) for _ in range(rounds)",
        "rng.integers(size, size=size) for _ in range(rounds)",
        ("tests/data/test_sampler.py::test_random_is_a_permutation_and_another_one_each_time",),
    ),
    (
        "augmentation: the same for every sample",
        "minidl/data/stream.py",
        'random.stream(self.seed, "sample", self.epoch, self.place)',
        'random.stream(self.seed, "sample", self.epoch)',
        ("tests/data/test_loader.py::test_a_sample_drawn_twice_is_augmented_twice",),
    ),
    (
        "augmentation: the same in every epoch",
        "minidl/data/stream.py",
        'random.stream(self.seed, "sample", self.epoch, self.place)',
        'random.stream(self.seed, "sample", self.place)',
        ("tests/data/test_loader.py::test_epochs_differ_in_order_and_augmentation",),
    ),
    (
        "order: the same in every epoch",
        "minidl/data/stream.py",
        'random.stream(seed, "order", self.epoch, self.draws)',
        'random.stream(seed, "order", self.draws)',
        ("tests/data/test_loader.py::test_epochs_differ_in_order_and_augmentation",),
    ),
    (
        "accuracy: ties count as right",
        "minidl/vision/metrics.py",
        "(scores > right) | ((scores == right) & (np.arange(classes) < column))",
        "scores > right",
        ("tests/vision/test_metrics.py::test_a_network_that_says_nothing_is_not_right_by_chance",),
    ),
]
