"""PyTorch's modules around the library: utils, accelerator, backends, amp, ...; missing names."""

from __future__ import annotations

import importlib
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

import minidl
from minidl.errors import ArgumentError, AutogradError, DeviceError, DTypeError


def test_utils_data_is_data() -> None:
    from minidl.utils.data.dataloader import default_collate
    from minidl.utils.data.sampler import SubsetRandomSampler

    from minidl.utils.data import DataLoader, Dataset

    assert DataLoader is minidl.data.DataLoader is minidl.utils.data.DataLoader
    assert Dataset is minidl.data.Dataset and default_collate is minidl.data.default_collate
    assert SubsetRandomSampler is minidl.data.SubsetRandomSampler
    assert set(minidl.data.__all__) <= set(dir(minidl.utils.data))


def test_the_accelerator_is_the_gpu() -> None:
    there = minidl.cuda.is_available()
    assert minidl.accelerator.is_available() is there
    assert minidl.accelerator.current_accelerator() == (minidl.device("gpu") if there else None)
    assert minidl.accelerator.device_count() == minidl.cuda.device_count()
    minidl.accelerator.synchronize()
    if not there:
        assert minidl.accelerator.current_device_index() == minidl.cuda.memory_allocated() == 0
        with pytest.raises(DeviceError):
            minidl.accelerator.set_device_index(0)


def test_a_chosen_gpu_has_a_name_and_memory(gpu: str) -> None:
    import cupy

    cupy.cuda.set_allocator(cupy.get_default_memory_pool().malloc)  # other tests replace it
    minidl.cuda.set_device(0)
    assert minidl.cuda.current_device() == 0 and minidl.cuda.get_device_name()
    tensor = minidl.zeros(1000, device=gpu)
    assert minidl.cuda.memory_allocated() >= tensor.numel() * 4
    assert minidl.cuda.max_memory_allocated() >= minidl.cuda.memory_allocated()
    minidl.cuda.empty_cache()
    minidl.cuda.reset_peak_memory_stats()


def test_cuda_seeds_the_one_generator() -> None:
    for seed in (minidl.cuda.manual_seed_all, minidl.cuda.manual_seed):
        seed(3)
        first = minidl.rand(3)
        minidl.manual_seed(3)
        assert minidl.equal(minidl.rand(3), first)


def test_backends_have_switches() -> None:
    cudnn = importlib.import_module("minidl.backends.cudnn")
    assert cudnn is minidl.backends.cudnn
    cudnn.benchmark, cudnn.deterministic = True, False
    assert not cudnn.is_available() and cudnn.version() is None
    with cudnn.flags(enabled=True, benchmark=False):
        assert cudnn.enabled and not cudnn.benchmark
    assert cudnn.benchmark and not cudnn.enabled
    assert not minidl.backends.mps.is_available()
    minidl.set_float32_matmul_precision("high")
    assert cudnn.allow_tf32 and minidl.get_float32_matmul_precision() == "high"
    minidl.set_float32_matmul_precision("highest")
    assert not cudnn.allow_tf32
    with pytest.raises(ArgumentError, match="precision"):
        minidl.set_float32_matmul_precision("low")
    before = minidl.cuda.is_tf32_allowed()
    for switch in (minidl.backends.cuda.matmul, cudnn):
        for value in (True, False):
            switch.allow_tf32 = value
            assert minidl.cuda.is_tf32_allowed() is switch.allow_tf32 is value
    minidl.cuda.allow_tf32(before)


def test_mixed_precision_may_be_off() -> None:
    scaler = minidl.amp.GradScaler("cuda", enabled=False)
    w = minidl.nn.Parameter(minidl.ones(1))
    optimizer = minidl.optim.SGD([w], lr=0.5)
    with minidl.cuda.amp.autocast(enabled=False), minidl.amp.autocast("cuda", enabled=False):
        loss = scaler.scale(w.sum())
    loss.backward()
    scaler.unscale_(optimizer)
    scaler.step(optimizer)
    scaler.update()
    scaler.load_state_dict(scaler.state_dict())
    assert w.item() == 0.5 and not scaler.is_enabled()


def test_data_parallel_runs_its_module() -> None:
    net = minidl.nn.DataParallel(minidl.nn.Linear(2, 2))
    assert [name for name, _ in net.named_parameters()] == ["module.weight", "module.bias"]
    assert net(minidl.ones(1, 2)).shape == (1, 2)
    assert not minidl.distributed.is_initialized()


def _subtract(tensor: Any) -> None:
    tensor.sub_(1)


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_processes_share_memory(method: str) -> None:
    mp = minidl.multiprocessing
    model = minidl.nn.Linear(2, 1).share_memory()
    before = model.weight.detach().clone()
    assert model.weight.share_memory_() is model.weight  # once is enough
    process = mp.get_context(method).Process(target=_subtract, args=(model.weight.detach(),))
    process.start()
    process.join(120)
    assert process.exitcode == 0
    assert minidl.equal(model.weight.detach(), before - 1)


MISSING = [
    ("minidl", "compile", "compilation and export"),
    ("minidl", "bfloat16", "the bfloat16 dtype"),
    ("minidl", "rleu", "did you mean relu"),
    ("minidl.nn", "LSTM", "recurrent layers"),
    ("minidl.nn", "MultiheadAttention", "attention"),
    ("minidl.nn", "Conv2D", "did you mean Conv2d"),
    ("minidl.nn.functional", "scaled_dot_product_attention", "attention"),
    ("minidl.nn.init", "kaming_normal_", "did you mean kaiming_normal_"),
    ("minidl.nn", "PReLU", "less common layers"),
    ("minidl.nn", "KLDivLoss", "less common losses"),
    ("minidl.nn.functional", "hardtanh", "less common layers"),
    ("minidl.nn.utils", "weight_norm", "less common layers"),
    ("minidl.nn.parallel", "data_parallel", "several GPUs in one process"),
    ("minidl.optim", "LBFGS", "less common optimizers"),
    ("minidl.random", "fork_rng", "it has Generator"),
    ("minidl.vision.utils", "draw_bounding_boxes", "it has make_grid"),
    ("minidl.optim.lr_scheduler", "StepLr", "did you mean StepLR"),
    ("minidl.autograd", "forward_ad", "forward-mode"),
    ("minidl.distributed", "new_group", "groups of ranks"),
    ("minidl.utils", "tensorboard", "TensorBoard"),
    ("minidl.utils.data", "Dataloader", "did you mean DataLoader"),
    ("minidl.cuda", "Stream", "it has "),
    ("minidl.backends", "cusparse", "it has cuda"),
    ("minidl.vision", "ops", "operators for detection"),
    ("minidl.vision.models", "resnet18", "networks other than AlexNet.*it has AlexNet"),
    ("minidl.nn.utils", "parametrize", "less common layers"),
    ("minidl", "linalg", "linear algebra"),
    ("minidl.vision.datasets", "SVHN", "it has CIFAR10"),
    ("minidl.vision.transforms", "AutoAugment", "less common transforms"),
]


def test_a_missing_method_says_what_there_is() -> None:
    x = minidl.zeros(2)
    assert not hasattr(x, "unsqeeze") and not hasattr(x, "_secret")
    with pytest.raises(AttributeError, match="Tensor has no 'unsqeeze'; did you mean unsqueeze"):
        x.unsqeeze(0)
    with pytest.raises(AttributeError, match="does not support sparse tensors"):
        x.to_sparse()
    assert x.is_xpu is x.is_meta is x.is_sparse is False


@pytest.mark.parametrize(("module", "name", "says"), MISSING)
def test_a_missing_name_says_what_there_is(module: str, name: str, says: str) -> None:
    there = importlib.import_module(module)
    assert not hasattr(there, name)
    with pytest.raises(AttributeError, match=f"{module} has no '{name}'.*{says}"):
        getattr(there, name)
    with pytest.raises(ImportError, match=f"{module} has no '{name}'.*{says}"):
        exec(f"from {module} import {name}")


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("utils.tensorboard", "does not support writers for TensorBoard"),
        ("hub", "does not support downloads"),
        ("vision.io", "it has bad_images"),
        ("nn.quantized.dynamic", "minidl.nn has no 'quantized'"),
    ],
)
def test_a_missing_module_says_what_there_is(path: str, says: str) -> None:
    with pytest.raises(ModuleNotFoundError, match=says):
        importlib.import_module(f"minidl.{path}")
    with pytest.raises(ModuleNotFoundError, match="^No module named 'minidle'"):
        importlib.import_module("minidle")


def test_names_that_scripts_import() -> None:
    code = """
from minidl.cuda.amp import GradScaler, autocast
import minidl.cuda.amp as amp
from minidl import dtype
from minidl.optim.lr_scheduler import _LRScheduler, LRScheduler
import minidl
assert amp.autocast is autocast and _LRScheduler is LRScheduler and amp is minidl.cuda.amp
assert isinstance(minidl.zeros(1).dtype, dtype)
with autocast(False):
    GradScaler(enabled=False)
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


@pytest.mark.parametrize("path", ["utils.data", "nn.parallel", "nn.DataParallel", "cuda.amp"])
def test_modules_are_there_without_an_import(path: str) -> None:
    code = f"import minidl; print(minidl.{path})"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


def test_modules_beside_the_core_are_imported_when_they_are_used() -> None:
    code = "import sys, minidl; print([m for m in sys.modules if m.startswith('minidl.')])"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout
    for name in ("optim", "data", "utils", "backends", "amp", "accelerator", "multiprocessing"):
        assert f"'minidl.{name}'" not in loaded


# --- Spellings of arguments -----------------------------------------------------------------------

X = np.random.default_rng(0).standard_normal((3, 4)).astype(np.float32)


@pytest.mark.parametrize(
    ("call", "same"),
    [
        ("t.sum(x, axis=1, keepdims=True)", "t.sum(x, 1, True)"),
        ("x.mean(axis=(0, 1))", "x.mean()"),
        ("x.max(axis=1)[1]", "x.max(1)[1]"),
        ("x.std(axis=0, keepdims=True)", "x.std(0, keepdim=True)"),
        ("t.var_mean(x, axis=0, keepdims=True)[0]", "x.var(0, keepdim=True)"),
        ("t.cat([x, x], axis=1)", "t.cat([x, x], 1)"),
        ("t.softmax(x, axis=1)", "x.softmax(1)"),
        ("x.log_softmax(axis=0)", "t.log_softmax(x, 0)"),
        ("t.swapaxes(x, axis0=0, axis1=1)", "x.T"),
        ("x.view(size=(4, 3))", "x.view(4, 3)"),
        ("x.reshape(shape=(2, 6))", "x.reshape(2, 6)"),
        ("x.permute(dims=(1, 0))", "x.T"),
        ("x.repeat(repeats=(1, 2))", "x.repeat(1, 2)"),
        ("x.expand(size=(2, 3, 4))", "x.expand(2, 3, 4)"),
        ("t.broadcast_to(x, size=(2, 3, 4))", "x.expand(2, 3, 4)"),
        ("t.zeros(size=(2, 3))", "t.zeros(2, 3)"),
        ("t.full(size=(2,), fill_value=1.5)", "t.full((2,), 1.5)"),
        ("t.randn(size=(2, 3)).shape", "t.zeros(2, 3).shape"),
        ("t.randint(3, size=(2, 3)).shape", "t.zeros(2, 3).shape"),
        ("t.randint(high=3, size=(2, 3)).max() < 3", "t.tensor(True)"),
        ("t.add(x, 1, out=t.empty(3, 4))", "x + 1"),
        ("t.mm(x, x.T, out=t.empty(0))", "x @ x.T"),
        ("t.exp(x, out=t.empty(3, 4, dtype=t.float64)).float()", "x.exp()"),
        ("t.max(x, 1, out=(t.empty(3), t.empty(3).long())).indices", "x.max(1)[1]"),
        ("t.arange(3, out=t.empty(3).long())", "t.arange(3)"),
    ],
)
def test_other_spellings(call: str, same: str) -> None:
    names: dict[str, Any] = {"t": minidl, "x": minidl.tensor(X)}
    found, expected = eval(call, names), eval(same, names)
    assert minidl.equal(found, expected) if isinstance(found, minidl.Tensor) else found == expected


def test_out_keeps_its_memory_and_refuses_what_it_cannot_hold() -> None:
    x, out = minidl.tensor(X), minidl.zeros(3, 4)
    array = out.array
    assert minidl.mul(x, 2, out=out) is out and out.array is array
    assert out.version[0] == 1
    with pytest.raises(DTypeError):
        minidl.mul(x, 2, out=minidl.zeros(3, 4, dtype=minidl.int64))
    with pytest.raises(AutogradError, match="out="):
        minidl.mul(x.requires_grad_(), 2, out=out)
    with pytest.raises(ArgumentError, match="out must be a Tensor"):
        minidl.abs(out, out=array)
    with pytest.raises(ArgumentError, match="not both"):
        out.sum(dim=0, axis=0)


# --- Dtypes ---------------------------------------------------------------------------------------


def test_limits_and_results_are_torchs() -> None:
    torch = pytest.importorskip("torch")
    names = ("bool", "uint8", "int8", "int16", "int64", "float16", "float32", "float64")
    for name in names:
        kind = minidl.finfo if name.startswith("f") else minidl.iinfo
        if name != "bool":
            ours, theirs = (
                kind(getattr(minidl, name)),
                getattr(torch, kind.__name__)(getattr(torch, name)),
            )
            assert repr(ours) == repr(theirs)
            for key in vars(ours):
                assert getattr(ours, key) == getattr(theirs, key), (name, key)
        for other in names:
            a, b = (getattr(minidl, n) for n in (name, other))
            c, d = (getattr(torch, n) for n in (name, other))
            assert minidl.can_cast(a, b) == torch.can_cast(c, d)
            assert str(minidl.promote_types(a, b)) == str(torch.promote_types(c, d))[6:]
            for shape in ((), (2,)):
                ours = minidl.result_type(minidl.zeros(shape, dtype=a), minidl.zeros(2, dtype=b))
                theirs = torch.result_type(torch.zeros(shape, dtype=c), torch.zeros(2, dtype=d))
                assert str(ours) == str(theirs)[6:]
        for number in (True, 2, 1.5):
            ours = minidl.result_type(minidl.zeros(2, dtype=a), number)
            assert str(ours) == str(torch.result_type(torch.zeros(2, dtype=c), number))[6:]


def test_questions_about_tensors() -> None:
    x = minidl.tensor(X)
    assert minidl.is_tensor(x) and not minidl.is_tensor(X)
    assert minidl.numel(x) == 12 and minidl.is_floating_point(x) and not minidl.is_complex(x)
    assert minidl.finfo().dtype == "float32"
    with pytest.raises(DTypeError, match="use iinfo"):
        minidl.finfo(minidl.int32)
    with pytest.raises(DTypeError, match="use finfo"):
        minidl.iinfo(minidl.float32)
    variable = minidl.autograd.Variable(x, requires_grad=True)
    assert variable.requires_grad and variable.array is x.array and minidl.autograd.Variable(x) is x


# --- Older spellings ------------------------------------------------------------------------------


def test_early_constructors() -> None:
    assert minidl.Tensor(2, 3).shape == minidl.Tensor(minidl.Size([2, 3])).shape == (2, 3)
    assert minidl.Tensor(3).shape == (3,) and minidl.Tensor().shape == (0,)
    assert minidl.Tensor([1, 2]).dtype == minidl.float32
    assert minidl.FloatTensor(1, 2).zero_().tolist() == [[0.0, 0.0]]
    assert minidl.LongTensor([1, 2]).dtype == minidl.int64
    assert minidl.DoubleTensor(X).dtype == minidl.float64
    x = minidl.ones(2)
    assert x.new([1, 2]).dtype == x.new(x.size()).dtype == x.new(2, 3).dtype == minidl.float32
    assert x.new(2, 3).shape == (2, 3) and x.new(x.size()).shape == (2,)
    assert x.type() == "torch.FloatTensor" and x.type(minidl.LongTensor).dtype == minidl.int64
    assert x.type("torch.DoubleTensor").dtype == x.type(minidl.float64).dtype == minidl.float64


def test_a_tensor_changes_its_own_shape() -> None:
    x = minidl.tensor(X)
    assert x.unsqueeze_(0) is x and x.shape == (1, 3, 4)
    assert x.squeeze_(0).t_().shape == (4, 3) and x.transpose_(0, 1).shape == (3, 4)
    leaf = minidl.tensor(X, requires_grad=True)
    (leaf * 2).unsqueeze_(0).sum().backward()
    assert minidl.equal(leaf.grad, minidl.full((3, 4), 2.0))
    with pytest.raises(AutogradError, match="leaf"):
        leaf.unsqueeze_(0)


def test_functions_in_place() -> None:
    x = minidl.tensor(X)
    for name in ("sigmoid", "tanh", "cos", "expm1", "trunc"):
        expected = getattr(x, name)()
        y = x.clone()
        assert getattr(y, f"{name}_")() is y and minidl.equal(y, expected)


# --- Whole programs' settings ---------------------------------------------------------------------


def test_a_device_is_the_default_inside_a_with() -> None:
    with minidl.device("cpu") as device:
        assert minidl.zeros(2).device == device == minidl.get_default_device()
        with pytest.raises(ZeroDivisionError), minidl.device("cpu"):
            1 / 0  # noqa: B018
    assert minidl.get_default_device() == minidl.device("cpu")


def test_results_are_deterministic_in_any_case() -> None:
    minidl.use_deterministic_algorithms(True, warn_only=True)
    assert minidl.are_deterministic_algorithms_enabled()


def test_a_missing_file_is_a_file_not_found_error(tmp_path: Any) -> None:
    with pytest.raises(FileNotFoundError, match="weights.pt' can't be loaded: No such file"):
        minidl.load(tmp_path / "weights.pt")
