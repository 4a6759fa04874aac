"""The tape as a picture; ``tape_graph.py`` makes it, imported when it is first used."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .module import Module

if TYPE_CHECKING:
    from .tape_graph import Graph


def graph(what: Any, *inputs: Any, model: Module | None = None) -> Graph:
    """Draw what a tensor was computed from, or a module.

    Parameters
    ----------
    what : Tensor, sequence of Tensor, or Module
        A tensor: each operation on its tape is a box. Layers that were fused share one, and a
        layer is named after its parameters. A module: it is called with `inputs`, and every layer
        is a box with its name.
    *inputs
        The arguments for a module.
    model : Module, optional
        Names the parameters as in ``model.named_parameters()``.

    Returns
    -------
    Graph

    Raises
    ------
    ArgumentError
        Nothing was recorded: no tensor requires a gradient.

    Examples
    --------
    >>> import minidl
    >>> from minidl import nn
    >>> net = nn.Sequential(nn.Linear(4, 3), nn.ReLU())
    >>> print(nn.graph(net, minidl.ones(2, 4)).mermaid)
    flowchart TD
      n0(["input"]):::outer
      n1["Linear<br/>0"]:::module
      n1w0(["weight 3×4"]):::leaf --> n1
      n1w1(["bias 3"]):::leaf --> n1
      n2["ReLU<br/>1"]:::module
      n3(["output"]):::outer
      n0 -->|"2×4"| n1
      n1 -->|"2×3"| n2
      n2 -->|"2×3"| n3
      classDef module fill:#dbeafe,stroke:#2563eb,color:#1f2933
      classDef operation fill:#f0f2f5,stroke:#7b8794,color:#1f2933
      classDef leaf fill:#dcfce7,stroke:#15803d,color:#1f2933
      classDef outer fill:#fef3c7,stroke:#b45309,color:#1f2933
    """
    from .tape_graph import draw

    return draw(what, inputs, model)


def __getattr__(name: str) -> Any:
    if name != "Graph":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from .tape_graph import Graph

    return Graph
