"""Bugs to plant in transforms: see ``tests/mutations.py``."""

from __future__ import annotations

#: Name, place, code, replacement, the tests that must fail[, the mode to run them in].
BUGS = [
    (
        "crop: the last offset is never drawn",
        "minidl.vision.transforms.crop:random_place",
        "height - h + 1",
        "height - h",
        "tests/vision/transforms/test_transforms.py::test_random_crop_and_flip_give_all_views",
    ),
    (
        "flip: never",
        "minidl.vision.transforms.flip:RandomHorizontalFlip.draw",
        "rng.random() < self.p",
        "rng.random() > 1",
        "tests/vision/transforms/test_transforms.py::test_random_crop_and_flip_give_all_views",
    ),
    (
        "gpu: a second GPU's pictures are converted on the first",
        "minidl.vision.transforms.raw:RawToInput.__call__",
        "with active(device_of(pixels)):",
        "if True:",
        "tests/test_device.py::test_the_gpu_of_a_tensor_is_made_current",
        "gpu",
    ),
    (
        "crop: shared offsets are not shared",
        "minidl.vision.transforms.crop:random_place",
        "sample_stream() if shared is None else shared_stream(shared, 'crop')",
        "sample_stream()",
        "tests/vision/transforms/test_presets.py::test_neighbors_share_offset_and_mirror",
    ),
    (
        "flip: shared mirroring is not shared",
        "minidl.vision.transforms.flip:RandomHorizontalFlip.draw",
        "sample_stream() if self.shared is None else shared_stream(self.shared, 'flip')",
        "sample_stream()",
        "tests/vision/transforms/test_presets.py::test_neighbors_share_offset_and_mirror",
    ),
    (
        "presets: the offset is shared, but not the mirroring",
        "minidl.vision.transforms.presets:alexnet_training",
        "RandomHorizontalFlip(shared=shared_offset)",
        "RandomHorizontalFlip()",
        "tests/vision/transforms/test_presets.py::test_neighbors_share_offset_and_mirror",
    ),
    (
        "presets: the jitter has ImageNet's axes",
        "minidl.vision.transforms.presets:_jitter",
        "PCAJitter(eigenvalues=values, eigenvectors=vectors, white=white)",
        "PCAJitter(white=white)",
        "tests/vision/transforms/test_presets.py::test_the_jitter_follows_the_data_sets_own_axes",
    ),
    (
        "presets: the axes of the jitter are transposed",
        "minidl.vision.transforms.presets:_jitter",
        "PCAJitter(eigenvalues=values, eigenvectors=vectors, white=white)",
        "PCAJitter(eigenvalues=values, eigenvectors=np.transpose(vectors).tolist(), white=white)",
        "tests/vision/transforms/test_presets.py::test_the_jitter_follows_the_data_sets_own_axes",
    ),
    (
        "presets: a mean picture of another size is not resized",
        "minidl.vision.transforms.presets:_mean_picture",
        "mean.shape[1:] == (side, side)",
        "True",
        "tests/vision/transforms/test_presets.py::test_raw_pictures_become_the_same_numbers",
    ),
    (
        "presets: the data set's deviations are not used",
        "minidl.vision.transforms.presets:_scale",
        "(statistics.mean, statistics.std, 1)",
        "(MEAN, DEVIATION, 1)",
        "tests/vision/transforms/test_presets.py::"
        "test_the_data_sets_own_mean_picture_and_deviations",
    ),
    (
        "presets: the data set's mean picture is not used",
        "minidl.vision.transforms.presets:_scale",
        "PIXEL_MEAN if statistics is None else _mean_picture(statistics, size)",
        "PIXEL_MEAN",
        "tests/vision/transforms/test_presets.py::"
        "test_the_data_sets_own_mean_picture_and_deviations",
    ),
    (
        "raw: the mean picture is mirrored with the crop",
        "minidl.kernels.cpu.raw_to_input:raw_to_input.picture",
        "target -= mean[above:above + height_here, offset:offset + width_here]",
        "part = mean[above:above + height_here, offset:offset + width_here]\n"
        "target -= part[:, ::-1] if mirrored else part",
        "tests/vision/transforms/test_raw.py::test_against_a_loop",
    ),
    (
        "raw: the corner of a mean picture is used, not its center",
        "minidl.vision.transforms.raw:RawToInput._on",
        "((mean.shape[0] - h) // 2, (mean.shape[1] - w) // 2)",
        "(0, 0)",
        "tests/vision/transforms/test_raw.py::test_against_a_loop",
    ),
    (
        "raw: the mean's crop for one size is used for another",
        "minidl.vision.transforms.raw:RawToInput._on",
        "(device, h, w)",
        "(device, 0, 0)",
        "tests/vision/transforms/test_raw.py::test_every_crop_gets_the_central_part_of_a_mean_picture",
    ),
    (
        "gpu raw: the mean picture is mirrored with the crop",
        "minidl/kernels/cuda/raw_to_input.cu:raw_to_input",
        "((long long)y * w + x) * channels : 0);",
        "((long long)y * w + (mirrored ? w - 1 - x : x)) * channels : 0);",
        "tests/vision/transforms/test_raw.py::test_every_crop_gets_the_central_part_of_a_mean_picture",
        "gpu",
    ),
    (
        "transforms: bytes are resized with their axes swapped",
        "minidl.vision.transforms.resize:_resize",
        "image.array.transpose(1, 2, 0)",
        "image.array.transpose(2, 1, 0)",
        "tests/vision/transforms/test_transforms.py::test_resize_of_bytes_is_that_of_the_picture",
    ),
    (
        "transforms: the joined crop is off by half a pixel",
        "minidl.vision.transforms.resize:ResizeAndCrop.__call__",
        "top * down",
        "top * down + 0.5",
        "tests/vision/transforms/test_transforms.py::test_joined_resize_and_crop_equal_the_two_up_to_rounding",
    ),
    (
        "transforms: crops of palette pictures are resized",
        "minidl.vision.transforms.resize:ResizeAndCrop.__call__",
        "image.mode in ('RGB', 'L')",
        "True",
        "tests/vision/transforms/test_transforms.py::"
        "test_resize_and_crop_are_not_joined_where_pixels_would_differ",
    ),
    (
        "transforms: the colors of a tensor's saturation are rounded late",
        "minidl.vision.transforms.adjust:_gray",
        "gray.astype(image.dtype).astype(gray.dtype)",
        "gray",
        "tests/vision/transforms/test_functional.py::test_torchvisions_numbers",
    ),
    (
        "transforms: a mirror image loses the gradient",
        "minidl.vision.transforms._image:hflip",
        "img.flip(-1) if img.requires_grad else Tensor(img.array[..., ::-1].copy(order='K'))",
        "Tensor(img.array[..., ::-1].copy(order='K'))",
        "tests/vision/transforms/test_functional.py::test_gradients_pass",
    ),
    (
        "transforms: one number fills the first channel only",
        "minidl.vision.transforms._image:fill_of",
        "numbers *= channels // len(numbers)",
        "numbers += [0] * (channels - len(numbers))",
        "tests/vision/transforms/test_functional.py::"
        "test_fill_has_one_number_or_one_for_each_channel",
    ),
]
