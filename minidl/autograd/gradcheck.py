"""The check of gradients that users call: :func:`gradcheck`, and :func:`gradgradcheck`.

``judge.py`` compares, ``differences.py`` computes the numerical side; both are imported when they
are first used.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import ArgumentError, AutogradError, GradcheckError
from ..tensor import Tensor
from .modes import enable_grad
from .walk import grad

if TYPE_CHECKING:
    from .differences import Problem

__all__ = ["gradcheck", "gradgradcheck"]

TensorOrTensors = Tensor | Sequence[Tensor]


def gradcheck(
    func: Callable[..., TensorOrTensors],
    inputs: Tensor | Sequence[Any],
    *,
    eps: float = 1e-6,
    atol: float = 1e-5,
    rtol: float = 1e-3,
    raise_exception: bool = True,
    nondet_tol: float = 0.0,
    check_undefined_grad: bool = True,
    check_grad_dtypes: bool = True,
    check_batched_grad: bool = False,
    check_batched_forward_grad: bool = False,
    check_forward_ad: bool = False,
    check_backward_ad: bool = True,
    fast_mode: bool | None = None,
    masked: bool | None = None,
) -> bool:
    """Check analytical gradients against central differences.

    Parameters
    ----------
    func : callable or Module
        Takes the inputs and returns a Tensor or a tuple (or list) of Tensors. All parameters
        of a :class:`minidl.nn.Module` with ``requires_grad`` are checked as well, on a copy in
        float64; the module itself does not change.
    inputs : Tensor or sequence
        The arguments of `func`, of any shape. Tensors with ``requires_grad=True`` are
        checked and should be float64 (for a Module, floating inputs are converted); everything
        else, such as integer targets or numbers, is handed on unchanged.
    eps : float, default 1e-6
        The step of the differences; greater than 0.
    atol, rtol : float, default 1e-5 and 1e-3
        Two values agree where ``|numerical − analytical| <= atol + rtol·|numerical|``.
    raise_exception : bool, default True
        Whether a failed check raises, or returns False.
    nondet_tol : float, default 0
        How far the results of two identical calls may lie apart, forward and backward. 0 means the
        same bits.
    check_undefined_grad : bool, default True
        Whether backward must do without the gradients of some of its outputs. False gives it zeros.
    check_grad_dtypes : bool, default True
        Whether each gradient must have its input's dtype.
    check_batched_grad, check_batched_forward_grad, check_forward_ad : bool
        Only False: minidl has neither ``vmap`` nor forward mode.
    check_backward_ad : bool
        Only True.
    fast_mode : bool, optional
        True: compare along random directions. False: compare the whole Jacobian. By default the
        size decides: the Jacobian up to 16,384 entries. The directions come from a fixed seed, so
        that the verdict is the same every time.
    masked : bool, optional
        Without effect: it is about sparse tensors.

    Returns
    -------
    bool
        True if all gradients are right; False if not and `raise_exception` is False.

    Raises
    ------
    GradcheckError
        A gradient is wrong: the message names the input or parameter, the worst entry's index, both
        values and their difference. Also: an input lies at a kink; the backward pass fails, is not
        linear in the gradient it is given, or depends on memory layouts, on which gradients are
        wanted, or on other calls; it changes its inputs or the output's gradient; a gradient has
        the wrong shape or dtype; `func` returns something else when called again; an output depends
        on an input but has no gradient.
    ArgumentError
        No input (and no parameter) requires a gradient, `eps` is not positive, or an argument asks
        for what minidl doesn't have.
    DTypeError
        A checked input is not of a floating-point dtype, or `func` returns something else than
        Tensors.

    Warns
    -----
    UserWarning
        A checked input of a plain function is less precise than float64: the check will probably
        fail, whatever the gradient.

    Notes
    -----
    **Where a function has a kink** (ReLU at 0, a maximum attained twice in a pooling window,
    ``abs`` at 0) there is no derivative for the two sides to agree on: the difference takes the
    mean of both slopes, the backward pass picks one. The check then fails with a message that
    names the element and both slopes, and says whether the backward's value lies between them.
    Use inputs that stay more than ``16·eps`` away from kinks: ``minidl.randn``, or a random
    permutation of ``arange(n)`` for a maximum.

    **Random functions** can't be differenced: each evaluation would draw another mask. The check
    calls `func` twice first and says so if the results differ. Put a module with dropout into
    ``eval()`` mode, or seed inside the function:
    ``lambda x: (minidl.manual_seed(0), F.dropout(x))[1]``.

    **A module keeps its mode.** In ``train()`` mode batch normalization is differentiated through
    the batch's mean and variance, in ``eval()`` mode it is an affine map. The copy's buffers
    (running averages) are set back before each evaluation, and the user's are never touched.

    Examples
    --------
    >>> import minidl
    >>> from minidl.autograd import Function
    >>> class Square(Function):
    ...     @staticmethod
    ...     def forward(ctx, x):
    ...         ctx.save_for_backward(x)
    ...         return x * x
    ...     @staticmethod
    ...     def backward(ctx, grad):
    ...         (x,) = ctx.saved_tensors
    ...         return 2 * x * grad
    >>> x = minidl.tensor([1.0, -2.0, 3.0], dtype=minidl.float64, requires_grad=True)
    >>> minidl.gradcheck(Square.apply, (x,))
    True
    >>> minidl.gradcheck(minidl.nn.Linear(3, 2), (x,))  # the weight and the bias as well
    True
    """
    from .differences import prepare
    from .judge import Check

    _refuse(
        check_batched_grad=check_batched_grad,
        check_batched_forward_grad=check_batched_forward_grad,
        check_forward_ad=check_forward_ad,
    )
    if not check_backward_ad:
        raise ArgumentError("check_backward_ad=False: minidl has no other mode to check")
    check = Check(eps, atol, rtol, nondet_tol, check_undefined_grad, check_grad_dtypes, fast_mode)
    return check.run(prepare(func, inputs, "gradcheck"), raise_exception)


def gradgradcheck(
    func: Callable[..., TensorOrTensors],
    inputs: Tensor | Sequence[Any],
    grad_outputs: TensorOrTensors | None = None,
    *,
    eps: float = 1e-6,
    atol: float = 1e-5,
    rtol: float = 1e-3,
    gen_non_contig_grad_outputs: bool = False,
    raise_exception: bool = True,
    nondet_tol: float = 0.0,
    check_undefined_grad: bool = True,
    check_grad_dtypes: bool = True,
    check_batched_grad: bool = False,
    check_fwd_over_rev: bool = False,
    check_rev_over_rev: bool = True,
    fast_mode: bool | None = None,
    masked: bool = False,
) -> bool:
    """Check gradients of gradients: :func:`gradcheck` of the gradient of `func`.

    What is checked is ``grad(func(*inputs), inputs, grad_outputs, create_graph=True)`` as a
    function of `inputs` and `grad_outputs`.

    Parameters
    ----------
    func, inputs
        As of :func:`gradcheck`; parameters of a Module are inputs.
    grad_outputs : Tensor or sequence of Tensor, optional
        One for each output that has a gradient; those that require a gradient are checked. Default:
        random ones, all checked.
    eps, atol, rtol, raise_exception, nondet_tol, check_undefined_grad, check_grad_dtypes, fast_mode
        As of :func:`gradcheck`.
    gen_non_contig_grad_outputs : bool, default False
        Whether the random `grad_outputs` have gaps in memory.
    check_batched_grad, check_fwd_over_rev : bool
        Only False.
    check_rev_over_rev : bool
        Only True.
    masked : bool
        Without effect: it is about sparse tensors.

    Returns
    -------
    bool
        True if all are right; False if not and `raise_exception` is False.

    Raises
    ------
    GradcheckError
        A gradient of a gradient is wrong, or a gradient can't be differentiated.
    ArgumentError, DTypeError
        As :func:`gradcheck`; also, another number of `grad_outputs` than outputs.

    Examples
    --------
    >>> import minidl
    >>> x = minidl.tensor([1.0, -2.0], dtype=minidl.float64, requires_grad=True)
    >>> minidl.gradgradcheck(lambda x: x * x * x, (x,))
    True
    """
    from .differences import prepare
    from .judge import Check

    _refuse(check_batched_grad=check_batched_grad, check_fwd_over_rev=check_fwd_over_rev)
    if not check_rev_over_rev:
        raise ArgumentError("check_rev_over_rev=False: minidl has no other mode to check")
    first = prepare(func, inputs, "gradgradcheck")
    gaps = gen_non_contig_grad_outputs
    check = Check(eps, atol, rtol, nondet_tol, check_undefined_grad, check_grad_dtypes, fast_mode)
    try:
        problem = _gradient_of(first, grad_outputs, gaps)
    except GradcheckError:
        if raise_exception:
            raise
        return False
    return check.run(problem, raise_exception, subsets=False)


def _refuse(**arguments: bool) -> None:
    for name, value in arguments.items():
        if value:
            raise ArgumentError(f"{name}=True: minidl has neither vmap nor forward mode to check")


def _gradient_of(first: Problem, grad_outputs: TensorOrTensors | None, gaps: bool) -> Problem:
    """The problem whose outputs are the gradients of another one's."""
    from .differences import Leaf, Problem, spread_out
    from .judge import SEED, differentiable, like, random_direction

    outputs = first.outputs()
    first.choose(outputs, differentiable(outputs))
    if not first.numbers:
        raise GradcheckError("no output of func requires a gradient: there is none to check")
    sources = [leaf.tensor for leaf in first.leaves]
    if grad_outputs is None:
        rng = np.random.default_rng(SEED)
        given = []
        for i in first.numbers:
            weights = like(outputs[i], random_direction(rng, tuple(outputs[i].shape)))
            given.append(Tensor(spread_out(weights.array)) if gaps else weights)
            given[-1].requires_grad = True
    else:
        users = [grad_outputs] if isinstance(grad_outputs, Tensor) else list(grad_outputs)
        if len(users) != len(first.numbers):
            raise ArgumentError(
                f"grad_outputs: expected {len(first.numbers)}, one for each output that requires "
                f"a gradient, got {len(users)}"
            )
        given = [Tensor(user.array, user.requires_grad) for user in users]
    leaves = [Leaf(f"grad_output {i}", g) for i, g in enumerate(given) if g.requires_grad]
    problem = Problem(lambda: (), first.leaves + leaves)

    def call() -> tuple[Tensor, ...]:
        with enable_grad():  # also where nothing else is recorded
            outputs = first.outputs()
            chosen = [outputs[i] for i in first.numbers]
            try:
                found = grad(chosen, sources, given, create_graph=True, allow_unused=True)
            except AutogradError as error:
                raise GradcheckError(f"the gradient can't be differentiated: {error}") from error
        pairs = [(leaf, g) for leaf, g in zip(first.leaves, found, strict=True) if g is not None]
        problem.labels = [f"the gradient by {leaf.label}" for leaf, _ in pairs]
        return tuple(g for _, g in pairs)

    problem.call = call
    return problem
