"""The paper's figures as numbers, read off the bars of the published PDF's images.

Errors and fractions are in [0, 1]. A fraction of 0 stands for a bar too low to be seen.
"""

from typing import NamedTuple

from experiments.grid.networks import Network, Size, Variant
from experiments.grid.protocols import CORR_01, CORR_10, DROP, VANILLA

TABLE_1: dict[Size, tuple[int, int, int]] = {
    "tiny": (10, 20, 40),
    "small": (30, 60, 120),
    "medium": (50, 100, 200),
    "large": (70, 140, 280),
    "huge": (90, 180, 360),
}
"""Units of layers 1, 2, 3 as printed. Section 1.3 and the released code show that the order is wrong."""


class Histogram(NamedTuple):
    """Fractions of unit pairs in bins of |rho| that start at 0 and have equal width. The bars of later bins
    are too low to be seen."""

    bin_width: float
    fractions: tuple[float, ...]


def _histogram(bin_width: float, fractions: str) -> Histogram:
    return Histogram(bin_width, tuple(map(float, fractions.split())))


FIGURE_1 = {
    VANILLA: _histogram(
        0.025,
        "0.0831 0.0826 0.0798 0.0786 0.0756 0.0732 0.069 0.0647 0.0573 0.0523 0.0494 "
        "0.0407 0.0367 0.0323 0.027 0.0226 0.0186 0.0146 0.0114 0.0089 0.0067 0.0045 "
        "0.0037 0.0024 0.0015 0.001",
    ),
    DROP: _histogram(
        0.025,
        "0.1424 0.1384 0.1287 0.1143 0.0998 0.0805 0.0678 0.0511 0.0385 0.0306 0.0219 "
        "0.0161 0.0122 0.0099 0.008 0.0065 0.0055 0.0045 0.0039 0.0034 0.0023 0.0025 "
        "0.0023 0.002 0.0015 0.0012 0.001",
    ),
}
"""For each variant, the histogram of hidden layer 1 of the huge network."""

FIGURE_1_MEAN = {VANILLA: 0.186, DROP: 0.125}
"""For each variant, mean |rho|, which Figure 1 shows as a red line."""

FIGURE_2 = {
    VANILLA: (
        _histogram(0.1, "0.325 0.283 0.2 0.119 0.053 0.017 0 0 0 0"),
        _histogram(0.1, "0.568 0.275 0.099 0.035 0.015 0 0 0 0 0"),
        _histogram(0.1, "0.224 0.208 0.192 0.149 0.105 0.064 0.031 0.015 0 0"),
    ),
    CORR_01: (
        _histogram(0.1, "0.752 0.198 0.039 0.007 0 0 0 0 0 0"),
        _histogram(0.1, "0.91 0.079 0.006 0 0 0 0 0 0 0"),
        _histogram(0.1, "0.783 0.145 0.037 0.017 0.006 0 0 0 0 0"),
    ),
    CORR_10: (
        _histogram(0.1, "0.985 0.013 0 0 0 0 0 0 0 0"),
        _histogram(0.1, "0.978 0.016 0 0 0 0 0 0 0 0"),
        _histogram(0.1, "0.978 0.016 0 0 0 0 0 0 0 0"),
    ),
}
"""For each variant, the histograms of hidden layers 1, 2, 3 of the huge network."""

FIGURE_3: dict[Variant, dict[Size, float]] = {
    VANILLA: {"large": 0.0003, "medium": 0.0021, "small": 0.0022, "tiny": 0.0097},
    CORR_01: {"large": 0.0, "medium": 0.0013, "small": 0.0017, "tiny": 0.0087},
}
"""Validation error after 100 epochs, minus that of the huge network with the same variant. The figure shows
no bar for large-corr-0.1, so its value is zero or negative."""

FIGURE_4: dict[Variant, dict[Size, float]] = {
    VANILLA: {"huge": 0.0841, "large": 0.0785, "medium": 0.0744, "small": 0.041, "tiny": 0.0561},
    CORR_01: {"huge": 0.0614, "large": 0.0757, "medium": 0.0452, "small": 0.0449, "tiny": 0.0519},
    CORR_10: {"huge": 0.0294, "large": 0.0349, "medium": 0.0339, "small": 0.0409, "tiny": 0.0434},
}
"""Validation error after epoch EARLY, for each variant and size."""

FIGURE_4_BY_NETWORK = {
    Network(size, variant): value for variant, bars in FIGURE_4.items() for size, value in bars.items()
}
"""Maps each network to its number in `FIGURE_4`."""

READING_ERROR = {
    "figure 1": 0.0002,
    "figure 1 mean": 0.0005,
    "figure 2": 0.003,
    "figure 3": 2e-5,
    "figure 4": 2e-4,
}
"""For each figure, the approximate error of a number that is read off the figure."""

INVISIBLE = {"figure 1": 0.001, "figure 2": 0.005, "figure 3": 0.0}
"""For each figure, the height up to which a bar is read as 0."""
