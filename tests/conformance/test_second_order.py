"""Gradients of gradients beside PyTorch's, in float64, where it is installed."""

from __future__ import annotations

from contextlib import nullcontext
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import minidl

torch = pytest.importorskip("torch")

#: Expressions of tensors x, y, z in both libraries (m; its functional is F), what kind of numbers
#: each tensor holds (N normal, P positive, D distinct), and their shapes. t are classes, w weights.
CASES = [
    ("x.exp()", "N", [(3, 4)]),
    ("x*y", "NN", [(3, 4), (4,)]),
    ("x/y", "NP", [(3, 4), (3, 1)]),
    ("x-y", "NN", [(2,), (3, 2)]),
    ("x**3", "N", [(3,)]),
    ("x**y", "PP", [(3, 2), (3, 2)]),
    ("x**2.5", "P", [(3,)]),
    ("2.0**x", "N", [(3,)]),
    ("x.sqrt()", "P", [(3,)]),
    ("x.log()", "P", [(3,)]),
    ("x.log2()", "P", [(3,)]),
    ("x.log1p()", "P", [(3,)]),
    ("x.expm1()", "N", [(3,)]),
    ("x.sin()", "N", [(3,)]),
    ("x.cos()", "N", [(3,)]),
    ("x.sinh()*x.cosh()", "N", [(3,)]),
    ("x.abs()", "N", [(4,)]),
    ("x.reciprocal()", "P", [(3,)]),
    ("x.rsqrt()", "P", [(3,)]),
    ("x.square()", "N", [(3,)]),
    ("x.clamp(-0.5,0.5)*x", "N", [(6,)]),
    ("m.maximum(x,y)*x", "NN", [(5,), (5,)]),
    ("m.minimum(x,y)*x", "NN", [(5,), (5,)]),
    ("x.sign()*x", "N", [(4,)]),
    ("m.remainder(x,y)*x*y", "PP", [(4,), (4,)]),
    ("m.fmod(x,y)*x*y", "PP", [(4,), (4,)]),
    ("m.lerp(x,y,0.3)**2", "NN", [(3,), (3,)]),
    ("m.addcdiv(x,y,x,value=2)", "PP", [(3,), (3,)]),
    ("m.where(x>0,x*x,y**3)", "NN", [(6,), (6,)]),
    ("x.masked_fill(x>0, 2.0)*x", "N", [(5,)]),
    ("(x*x).sum(0)", "N", [(3, 4)]),
    ("(x*x).mean()", "N", [(3, 4)]),
    ("x.var(0)", "N", [(3, 4)]),
    ("x.std()", "N", [(3, 4)]),
    ("x.var(1, unbiased=False, keepdim=True)", "N", [(3, 4)]),
    ("x.norm()", "N", [(3, 4)]),
    ("m.norm(x,3,1)", "N", [(3, 4)]),
    ("m.norm(x,1,1)*x.sum()", "N", [(3, 4)]),
    ("x.amax(1)**2", "D", [(3, 4)]),
    ("x.max(1)[0]**2", "D", [(3, 4)]),
    ("x.min(0)[0]**3", "D", [(3, 4)]),
    ("x.max()**2", "D", [(3, 4)]),
    ("x.prod(1)", "N", [(3, 4)]),
    ("x.prod()", "N", [(4,)]),
    ("(x*x).cumsum(1)", "N", [(3, 4)]),
    ("x.cumprod(1)", "N", [(3, 4)]),
    ("x.logsumexp(1)", "N", [(3, 4)]),
    ("x.logsumexp(0,keepdim=True)", "N", [(3, 4)]),
    ("x.median(1)[0]**2", "D", [(3, 5)]),
    ("x.reshape(4,3)**2", "N", [(3, 4)]),
    ("x.permute(1,0)**2", "N", [(3, 4)]),
    ("x.expand(5,3,4)**2", "N", [(3, 4)]),
    ("m.cat([x*x,y],1)**2", "NN", [(2, 3), (2, 2)]),
    ("m.stack([x,y])**3", "NN", [(3,), (3,)]),
    ("x.flip(0)**2", "N", [(4,)]),
    ("x.roll(1,0)**2", "N", [(4,)]),
    ("x.tril()**2", "N", [(3, 3)]),
    ("x.triu(1)**3", "N", [(3, 3)]),
    ("x.diagonal()**2", "N", [(3, 3)]),
    ("x.trace()**2", "N", [(3, 3)]),
    ("m.diag(x)**2", "N", [(3,)]),
    ("x.repeat(2,2)**2", "N", [(2, 2)]),
    ("x[1]**2", "N", [(3, 4)]),
    ("x[:, 1:3]**2", "N", [(3, 4)]),
    ("x[[0,0,2]]**2", "N", [(3, 4)]),
    ("x[x>0]**2", "N", [(3, 4)]),
    ("x.split(2)[0]**3*x[1]", "N", [(4, 3)]),
    ("x.unsqueeze(0).squeeze(0)**2", "N", [(3,)]),
    ("m.gather(x,1,m.tensor([[0,1],[2,0],[1,1]]))**2", "N", [(3, 3)]),
    ("x.sort(1)[0]**2*y", "DN", [(3, 4), (3, 4)]),
    ("x.topk(2)[0]**2", "D", [(3, 4)]),
    ("x.index_select(0,m.tensor([0,2,2]))**2", "N", [(3, 3)]),
    ("(x*1).scatter(1,m.tensor([[0],[1]]),y)**2", "NN", [(2, 3), (2, 1)]),
    ("(x*1).scatter_add(1,m.tensor([[0,0],[1,1]]),y)**2", "NN", [(2, 3), (2, 2)]),
    ("(x*1).index_add(0,m.tensor([0,0]),y)**2", "NN", [(3, 3), (2, 3)]),
    ("m.take_along_dim(x,m.tensor([[0,1]]),1)**2", "N", [(2, 3)]),
    ("x@y", "NN", [(3, 4), (4, 2)]),
    ("m.einsum('bij,bjk->bik',x,y)", "NN", [(2, 3, 4), (2, 4, 2)]),
    ("m.einsum('ii->i',x)**2", "N", [(3, 3)]),
    ("m.dot(x,y)", "NN", [(3,), (3,)]),
    ("m.outer(x,y)**2", "NN", [(3,), (2,)]),
    ("m.addmm(x,y,z,beta=2,alpha=3)**2", "NNN", [(2, 2), (2, 3), (3, 2)]),
    ("m.bmm(x,y)", "NN", [(2, 3, 4), (2, 4, 2)]),
    ("F.conv2d(x,y,z,padding=1)", "NNN", [(2, 3, 5, 5), (4, 3, 3, 3), (4,)]),
    ("F.conv2d(x,y,z,stride=2,groups=2)", "NNN", [(2, 4, 6, 5), (4, 2, 3, 2), (4,)]),
    ("F.conv2d(x,y,None,dilation=2,padding=2)", "NN", [(1, 2, 6, 6), (3, 2, 3, 3)]),
    ("F.conv2d(x,y,None,padding='same')", "NN", [(1, 2, 6, 6), (3, 2, 3, 3)]),
    ("F.conv2d(x,y)", "NN", [(2, 5, 5), (3, 2, 3, 3)]),
    ("F.conv_transpose2d(x,y,z,2,1,1)", "NNN", [(2, 4, 3, 3), (4, 2, 3, 3), (2,)]),
    ("F.conv_transpose2d(x,y,None,groups=2,dilation=2)", "NN", [(2, 4, 3, 3), (4, 2, 3, 3)]),
    ("F.max_pool2d(x,3,2)**2", "D", [(2, 3, 7, 7)]),
    ("F.max_pool2d(x,2,1,1)**3", "D", [(1, 2, 4, 4)]),
    ("F.avg_pool2d(x,3,2,1)**2", "N", [(2, 2, 6, 6)]),
    ("F.avg_pool2d(x,2,ceil_mode=True,count_include_pad=False)**2", "N", [(2, 2, 5, 5)]),
    ("F.adaptive_avg_pool2d(x,(3,2))**2", "N", [(2, 2, 7, 5)]),
    ("F.unfold(x,3,padding=1)**2", "N", [(2, 2, 5, 5)]),
    ("F.fold(x,(4,4),2)**2", "N", [(2, 8, 9)]),
    ("F.local_response_norm(x,5,1e-1,.75,2.)", "N", [(2, 7, 3, 3)]),
    ("F.local_response_norm(x,4,1e-1,.75,1.)", "N", [(2, 7, 3)]),
    ("F.batch_norm(x,None,None,y,z,training=True)", "NNN", [(4, 3, 2, 2), (3,), (3,)]),
    ("F.batch_norm(x,None,None,training=True)", "N", [(4, 3)]),
    ("F.batch_norm(x,w[:3],w[1:4],y,z)**2", "NNN", [(4, 3, 2, 2), (3,), (3,)]),
    ("F.group_norm(x,2,y,z)", "NNN", [(3, 4, 3), (4,), (4,)]),
    ("F.group_norm(x,2)", "N", [(3, 4, 3)]),
    ("F.layer_norm(x,(3,4),y,z)", "NNN", [(2, 3, 4), (3, 4), (3, 4)]),
    ("F.layer_norm(x,(4,))", "N", [(3, 4)]),
    ("F.relu(x)**2", "N", [(3, 4)]),
    ("m.tanh(x)", "N", [(3, 4)]),
    ("m.sigmoid(x)", "N", [(3, 4)]),
    ("F.gelu(x)", "N", [(3, 4)]),
    ("F.gelu(x,approximate='tanh')", "N", [(3, 4)]),
    ("F.softplus(x,2.0,3.0)", "N", [(3, 4)]),
    ("F.elu(x,1.5)", "N", [(3, 4)]),
    ("F.silu(x)", "N", [(3, 4)]),
    ("F.leaky_relu(x,.1)**2", "N", [(3, 4)]),
    ("F.softmax(x,1)", "N", [(3, 4)]),
    ("F.log_softmax(x,0)", "N", [(3, 4)]),
    ("F.gelu(x*0)*y+F.silu(x*0)", "NN", [(3,), (3,)]),
    ("m.sigmoid(x*0)*y+F.softplus(x*0)", "NN", [(3,), (3,)]),
    ("F.binary_cross_entropy_with_logits(x*0,y)", "NP", [(3,), (3,)]),
    ("F.linear(x,y,z)", "NNN", [(3, 4), (2, 4), (2,)]),
    ("F.linear(x,y)", "NN", [(2, 3, 4), (2, 4)]),
    ("F.cross_entropy(x,t,reduction='mean')", "N", [(4, 5)]),
    ("F.nll_loss(x*x,t,reduction='mean')", "N", [(4, 5)]),
    ("F.mse_loss(x,y,reduction='mean')", "NN", [(3, 2), (3, 2)]),
    ("F.smooth_l1_loss(x,y,reduction='mean',beta=.7)", "NN", [(3, 2), (3, 2)]),
    ("F.l1_loss(x*x,y,reduction='mean')", "NN", [(3, 2), (3, 2)]),
    ("F.binary_cross_entropy_with_logits(x,y,reduction='mean')", "NP", [(3, 2), (3, 2)]),
    ("F.binary_cross_entropy(x,y,reduction='mean')", "PP", [(3, 2), (3, 2)]),
    ("F.cross_entropy(x,y.softmax(1),label_smoothing=.1)", "NN", [(4, 5), (4, 5)]),
    ("F.cross_entropy(x,t,w,ignore_index=2,reduction='mean')", "N", [(4, 5)]),
    ("F.cross_entropy(x,t,reduction='none')", "N", [(4, 5)]),
    ("F.mse_loss(x,y,reduction='none')", "NN", [(3, 2), (3, 2)]),
    ("F.binary_cross_entropy_with_logits(x,y,reduction='none')", "NP", [(3, 2), (3, 2)]),
    ("F.binary_cross_entropy(x,y,reduction='none')", "PP", [(3, 2), (3, 2)]),
    ("F.cross_entropy(x,y.softmax(1),reduction='none')", "NN", [(4, 5), (4, 5)]),
    ("F.cross_entropy(x,t,w,ignore_index=2,reduction='none')", "N", [(4, 5)]),
    ("F.cross_entropy(x,t,label_smoothing=.2)", "N", [(4, 5)]),
    ("F.cross_entropy(x,m.tensor(2))", "N", [(5,)]),
    ("F.cross_entropy(x,m.tensor([[0,1],[2,1]]))", "N", [(2, 3, 2)]),
    ("F.nll_loss(x*x,m.tensor([[0,1],[2,1]]),w[:3])", "N", [(2, 3, 2)]),
    ("F.binary_cross_entropy_with_logits(x,y,w[2:4],pos_weight=w[1:3])", "NP", [(3, 2), (3, 2)]),
    ("F.embedding(m.tensor([[0,1],[1,3]]),x)**2", "N", [(5, 3)]),
    ("F.embedding(m.tensor([[0,1],[1,3]]),x,padding_idx=1)**2", "N", [(5, 3)]),
    ("F.pad(x,(1,2,2,1),mode='constant')**2", "N", [(1, 2, 4, 4)]),
    ("F.pad(x,(1,2,2,1),mode='reflect')**2", "N", [(1, 2, 4, 4)]),
    ("F.pad(x,(1,2,2,1),mode='replicate')**2", "N", [(1, 2, 4, 4)]),
    ("F.pad(x,(1,2,2,1),mode='circular')**2", "N", [(1, 2, 4, 4)]),
    ("F.pad(x,(-1,1))**2", "N", [(3, 4)]),
    ("x.contiguous()**2", "N", [(3,)]),
    ("x.clone()**2", "N", [(3,)]),
    ("(x*y).sum()**2", "NN", [(), ()]),
    ("x.exp()*y", "NN", [(), ()]),
    ("x.tanh()*x.sqrt()", "P", [()]),
]  # fmt: skip


def numbers(case: tuple[str, str, list[tuple[int, ...]]]) -> list[Any]:
    rng, arrays = np.random.default_rng(0), []
    for kind, shape in zip(case[1], case[2], strict=True):
        if kind == "N":
            arrays.append(np.asarray(rng.standard_normal(shape)))
        elif kind == "P":
            arrays.append(rng.random(shape) / 2 + 0.25)
        else:
            arrays.append(rng.permutation(int(np.prod(shape))).reshape(shape) / 3 - 3.1)
    return arrays


def gradients(m: ModuleType, expression: str, arrays: list[Any]) -> list[Any]:
    """Return the gradients of a weighted sum of all gradients, by the inputs and the weights."""
    rng = np.random.default_rng(1)
    inputs = [m.tensor(array, dtype=m.float64, requires_grad=True) for array in arrays]
    names = {"m": m, "F": m.nn.functional, **dict(zip("xyz", inputs, strict=False))}
    names["t"] = m.tensor([0, 2, 1, 3])
    names["w"] = m.tensor([1.0, 2.0, 3.0, 4.0, 5.0], dtype=m.float64)
    out = eval(expression, names)
    weights = m.tensor(rng.standard_normal(tuple(out.shape)), dtype=m.float64, requires_grad=True)
    leaves = [*inputs, weights]
    first = m.autograd.grad((out * weights).sum(), leaves, create_graph=True)
    total = 0
    for gradient in first:
        factors = m.tensor(rng.standard_normal(tuple(gradient.shape)), dtype=m.float64)
        total = total + (gradient * factors).sum()
    second = m.autograd.grad(total, leaves, allow_unused=True)
    return [None if g is None else g.detach().numpy() for g in (*first, *second)]


@pytest.mark.parametrize("way", ["kernel", "plain"])
@pytest.mark.parametrize("case", CASES, ids=[case[0] for case in CASES])
@pytest.mark.filterwarnings("ignore")
def test_same_as_pytorch(case: Any, way: str) -> None:
    arrays = numbers(case)
    right = gradients(torch, case[0], arrays)
    with minidl.reference() if way == "plain" else nullcontext():
        found = gradients(minidl, case[0], arrays)
    for own, other in zip(found, right, strict=True):
        one, two = (0 if array is None else array for array in (own, other))
        np.testing.assert_allclose(one, two, rtol=1e-10, atol=1e-10)


def network(m: ModuleType) -> Any:
    nn = m.nn
    return nn.Sequential(
        nn.Conv2d(3, 6, 5, stride=2, padding=1), nn.ReLU(), nn.LocalResponseNorm(5, 0.1, k=2.0),
        nn.MaxPool2d(3, 2), nn.Conv2d(6, 8, 3, padding=1, groups=2), nn.BatchNorm2d(8), nn.ReLU(),
        nn.MaxPool2d(3, 1), nn.Conv2d(8, 8, 3, padding=1), nn.ReLU(), nn.Flatten(),
        nn.Linear(32, 10), nn.ReLU(), nn.Linear(10, 4),
    )  # fmt: skip


def networks() -> tuple[Any, Any]:
    minidl.manual_seed(0)
    ours, theirs = network(minidl).to(dtype=minidl.float64), network(torch).double()
    theirs.load_state_dict({k: torch.tensor(v.numpy()) for k, v in ours.state_dict().items()})
    return ours, theirs


def penalized(m: ModuleType, net: Any, images: Any) -> list[Any]:
    """Return the gradients of a loss with the penalty of a Wasserstein critic."""
    x = m.tensor(images, dtype=m.float64, requires_grad=True)
    out = net(x)
    (gradient,) = m.autograd.grad(out.sum(), x, create_graph=True)
    penalty = ((gradient.reshape(len(images), -1).norm(2, dim=1) - 1) ** 2).mean()
    (m.nn.functional.cross_entropy(out, m.tensor([0, 1, 3])) + 10 * penalty).backward()
    return [leaf.grad.numpy() for leaf in (x, *net.parameters())]


def hessian_times(m: ModuleType, net: Any, images: Any) -> list[Any]:
    """Return the Hessian of the loss times a vector."""
    rng, parameters = np.random.default_rng(3), list(net.parameters())
    loss = m.nn.functional.cross_entropy(
        net(m.tensor(images, dtype=m.float64)), m.tensor([0, 1, 3])
    )
    gradients = m.autograd.grad(loss, parameters, create_graph=True)
    vector = [m.tensor(rng.standard_normal(tuple(g.shape)), dtype=m.float64) for g in gradients]
    return [h.numpy() for h in m.autograd.grad(gradients, parameters, vector)]


@pytest.mark.parametrize("way", ["kernel", "plain"])
@pytest.mark.parametrize("function", [penalized, hessian_times])
def test_network(function: Any, way: str) -> None:
    images = np.random.default_rng(2).standard_normal((3, 3, 21, 21))
    ours, theirs = networks()
    right = function(torch, theirs, images)
    with minidl.reference() if way == "plain" else nullcontext():
        found = function(minidl, ours, images)
    for own, other in zip(found, right, strict=True):
        np.testing.assert_allclose(own, other, rtol=1e-9, atol=1e-11)
