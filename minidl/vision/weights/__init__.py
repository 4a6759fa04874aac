"""Weights from elsewhere, and for elsewhere.

==============  ====================================================================================
file            contents
==============  ====================================================================================
.safetensors    a state dict, in PyTorch's layout or minidl's
.npz            the same as NumPy arrays
.pth            the same, or a training checkpoint around it, as PyTorch saves them (both forms)
.npy            ``bvlc_alexnet.npy``, Caffe's weights for TensorFlow, or others made in the same way
.caffemodel     Caffe's own file, of bvlc_alexnet, CaffeNet and nets fine-tuned from them
a run's folder  checkpoints of a training with minidl
==============  ====================================================================================

``alexnet(weights=FILE)`` and :func:`minidl.vision.models.load_network` read all of them,
``python -m minidl inspect FILE`` says what one holds, and ``python -m minidl convert IN OUT`` makes
safetensors, ``.pth`` or ONNX of it. Nothing in a file is executed.

Inside this package: :mod:`.files` and :mod:`.caffe_file` read files, :mod:`.layouts` says which
array belongs to which layer (:mod:`.matching` by keys and shapes), :mod:`.onnx_export` draws a
network as an ONNX graph, and :mod:`.convert` has the two commands.
"""
