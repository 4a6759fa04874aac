"""Bugs to plant in files of weights from elsewhere: see ``tests/mutations.py``."""

from __future__ import annotations

#: Name, place, code, replacement, the tests that must fail[, the mode to run them in].
BUGS = [
    (
        "pickles: functions are looked up",
        "minidl.pickles:_Machine._step",
        "raise RefusedError(f'a call of {function}')",
        "import pydoc\nself.calls = {**self.calls, function.name: pydoc.locate(function.name)}",
        "tests/vision/datasets/test_pickled.py::test_hostile_pickles_run_nothing",
    ),
    (
        "pickles: attributes of dicts pass",
        "minidl.pickles:_Machine._build",
        "set(state) - {'_metadata'}",
        "False",
        "tests/test_torch_files.py::test_no_command_runs",
    ),
    (
        "pickles: copies of a text cost nothing",
        "minidl.pickles:_Machine._encode",
        "self._make_room(len(only(str, text)))",
        "only(str, text)",
        "tests/test_torch_files.py::test_small_pickles_stay_small",
    ),
    (
        "pickles: a function may stand among the values",
        "minidl.pickles:_values",
        "isinstance(item, Name)",
        "False",
        "tests/test_torch_files.py::test_names_of_functions_and_classes_are_refused",
    ),
    (
        "torch: a view may leave its storage",
        "minidl.torch_files:_view",
        "count > max(array.size, _MAX_EXPANDED)",
        "False",
        "tests/test_torch_files.py::test_views_outside_their_storage",
    ),
    (
        "torch: a part of a storage begins at its start",
        "minidl.torch_files:_read_stream",
        "_view(_Storage(array, ''), first, (length,), (1,))",
        "_view(_Storage(array, ''), 0, (length,), (1,))",
        "tests/test_torch_files.py::test_a_part_of_a_storage_in_the_older_form",
    ),
    (
        "torch: big-endian numbers pass",
        "minidl.torch_files:_read_zip",
        "order is not None and unpack(archive, order).tobytes() != b'little'",
        "False",
        "tests/test_torch_files.py::test_other_byte_orders_are_refused",
    ),
    (
        "torch: strides are written backwards",
        "minidl.torch_files:write_torch",
        "[1, *array.shape[:0:-1]]",
        "[1, *array.shape[1:]]",
        "tests/test_torch_files.py::test_what_is_written_is_read",
    ),
    (
        "weights: fc6's rows stay in TensorFlow's order",
        "minidl.vision.weights.layouts:_from_tensorflow",
        "maps = array.reshape(side, side, channels, -1).transpose(2, 0, 1, 3)",
        "maps = array.reshape(side, side, channels, -1)",
        "tests/vision/weights/test_layouts.py::test_bvlc_alexnet_npy",
    ),
    (
        "weights: CaffeNet is taken for bvlc_alexnet",
        "minidl.vision.weights.layouts:_caffe_variant",
        "order[:1] == ['Pooling']",
        "False",
        "tests/vision/weights/test_layouts.py::test_caffemodels",
    ),
    (
        "weights: a layer's number of classes is not compared",
        "minidl.vision.weights.layouts:_shaped",
        "{name: array.shape for name, array in arrays.items()} != shapes",
        "arrays.keys() != shapes.keys()",
        "tests/vision/weights/test_layouts.py::test_what_does_not_fit_is_refused",
    ),
    (
        "weights: of a blob's pieces only the last counts",
        "minidl.vision.weights.caffe_file:_Reader.blob",
        "np.concatenate(pieces)",
        "pieces[-1]",
        "tests/vision/weights/test_files.py::test_blobs_in_pieces_in_doubles_and_in_unpacked_shapes",
    ),
    (
        "weights: converted files do not say their variant",
        "minidl.vision.weights.convert:_write",
        "metadata = {'variant': weights.variant}",
        "metadata = {}",
        "tests/vision/weights/test_convert.py"
        "::test_the_variant_and_the_preprocessing_stay_with_the_weights",
    ),
    (
        "preprocessing: batches keep red first",
        "minidl.vision.transforms.preprocessing:Preprocessing.finish",
        "[_ReverseChannels()] if self.bgr else []",
        "[]",
        "tests/vision/transforms/test_preprocessing.py::test_bytes_give_the_same_numbers",
    ),
    (
        "preprocessing: Caffe's pictures keep their proportions",
        "minidl.vision.transforms.preprocessing:",
        "Preprocessing(227, (256, 256), (122.679, 116.669, 104.007), bgr=True)",
        "Preprocessing(227, 256, (122.679, 116.669, 104.007), bgr=True)",
        "tests/vision/transforms/test_preprocessing.py::test_caffes_are_warped_and_blue_comes_first",
    ),
    (
        "onnx: towers are normalized together",
        "minidl.vision.weights.onnx_export:_response_norm",
        "np.array([-1, out[1] // layer.groups, *out[2:]])",
        "np.array([-1, *out[1:]])",
        "tests/vision/weights/test_onnx_export.py::test_layers",
    ),
    (
        "onnx: windows over the edge are cut off",
        "minidl.vision.weights.onnx_export:_windows",
        "[*padding, *(p + more for p, more in zip(padding, over, strict=True))]",
        "[*padding, *padding]",
        "tests/vision/weights/test_onnx_export.py::test_every_variant",
    ),
]
