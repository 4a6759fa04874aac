"""Figures of a training run: the paper's, and those that show what a network has learned.

======================  ============================================================================
:mod:`filters`          the first layer's kernels: the paper's Figure 3
:mod:`curves`           loss and accuracy
:mod:`panels`           top-5 bars and nearest neighbors (Figure 4), mistakes, confusion
:mod:`inside`           activations of each layer, saliency, Grad-CAM
:mod:`architecture`     the network as a drawing: Figure 2
:mod:`report`           all of them from a run, and on one page
======================  ============================================================================

Matplotlib (the extra ``viz``) draws most of them; it is imported at the first figure that needs it.
"""

from __future__ import annotations

from .architecture import architecture_svg
from .curves import plot_curves, save_curves
from .filters import filter_grid, save_filters, smoothness
from .inside import activations, grad_cam, plot_activations, plot_saliency, saliency
from .page import Page
from .panels import plot_confusion, plot_mistakes, plot_neighbors, plot_top5
from .report import FIGURES, WITHOUT_PICTURES, Source, save_all, save_figure, write_page

__all__ = [
    "FIGURES", "WITHOUT_PICTURES", "Page", "Source", "activations", "architecture_svg",
    "filter_grid", "grad_cam", "plot_activations", "plot_confusion", "plot_curves", "plot_mistakes",
    "plot_neighbors", "plot_saliency", "plot_top5", "saliency", "save_all", "save_curves",
    "save_figure", "save_filters", "smoothness", "write_page",
]  # fmt: skip
