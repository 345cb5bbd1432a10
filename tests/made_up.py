"""Sweeps that were never trained, in the form that `compact.load` gives, for the tests of what reads them."""

import json
from dataclasses import replace

import numpy as np
import xarray as xr

from decorr.config import RELEASED, SIZES, VARIANTS
from experiments import compact
from experiments.grid import Cell

SEEDS, EPOCHS, BINS, UNITS = 10, 4, 40, 12


def cell(name, *, error=0.1, early=0.2, correlation=0.2, noise=0.0, slope=1.0, seeds=SEEDS, random=None):
    """One cell: the mean of its last and second error, and of its correlations, and the seeds' spread."""
    random = random or np.random.default_rng(0)
    size, _, variant = name.partition("-")
    spread = noise * random.standard_normal(seeds)
    errors = np.full((seeds, EPOCHS), 0.5)
    errors[:, 1], errors[:, -1] = early + spread, error + spread
    correlations = np.broadcast_to(np.asarray(correlation, float), (3,))[None, :] + spread[:, None]
    fractions = np.full((seeds, 3, BINS), 1 / BINS)
    rho = np.corrcoef(random.standard_normal((UNITS, 30)))
    per_layer = np.broadcast_to(correlations[:, None, :], (seeds, EPOCHS, 3))
    slopes = np.ones((seeds, EPOCHS, 3)) * np.asarray(slope)
    values = {
        "train_nll": (("seed", "epoch"), errors),
        "train_error": (("seed", "epoch"), errors),
        "validation_nll": (("seed", "epoch"), errors),
        "validation_error": (("seed", "epoch"), errors),
        "penalty": (("seed", "epoch", "layer"), 1 + per_layer),
        "mean_correlation": (("seed", "epoch", "layer"), per_layer),
        "slope": (("seed", "epoch", "slope_layer"), slopes),
        "mean_correlation_minibatch": (("seed", "layer"), correlations),
        "histogram_minibatch": (("seed", "layer", "bin"), fractions),
        "histogram_validation": (("seed", "layer", "bin"), fractions),
        "diverged_epoch": (("seed",), np.zeros(seeds, int)),
        "correlation": (("unit", "other_unit"), rho),
    }
    configured = Cell("mnist", size, variant, seeds, replace(RELEASED, epochs=EPOCHS)).configuration()
    provenance = dict.fromkeys(compact.PROVENANCE, "made up") | {"seconds": 1.0}
    return xr.Dataset(
        values | {name: ((), each) for name, each in provenance.items()},
        coords={
            "cell": name,
            "size": size,
            "variant": variant,
            "seed": np.arange(seeds),
            "epoch": np.arange(1, EPOCHS + 1),
            "layer": [1, 2, 3],
        },
    ).assign(configuration=json.dumps(configured))


def sweep(change=lambda size, variant: {}, sizes=tuple(SIZES), variants=VARIANTS, noise=0.001, seeds=SEEDS):
    """Cells that differ by noise alone, but for what `change` says of each."""
    random = np.random.default_rng(1)
    cells = [
        cell(f"{s}-{v}", **{"noise": noise, "random": random, "seeds": seeds} | change(s, v))
        for s in sizes
        for v in variants
    ]
    return compact.concatenate(cells)
