"""Made-up sweeps, in the form that `gather` returns, for tests of the code that reads sweeps."""

import json
from dataclasses import replace

import numpy as np
import xarray as xr

from experiments.grid.cells import Cell
from experiments.grid.networks import SIZES, Network
from experiments.grid.protocols import RELEASED, VARIANTS
from experiments.store import finished

SEEDS, EPOCHS, BINS, UNITS = 10, 4, 40, 12


def cell(
    name,
    *,
    error=0.1,
    early=0.2,
    correlation=0.2,
    noise=0.0,
    slope=1.0,
    seeds=SEEDS,
    random=None,
    family="mlp",
):
    """Returns the variables of one cell, by name.

    Args:
      name: the network.
      error: mean validation error of the last epoch.
      early: mean validation error of the second epoch.
      correlation: mean correlation, also as one number per layer.
      noise: standard deviation between seeds.
      slope: the PReLU slopes.
      seeds: number of seeds.
      random: NumPy's generator; None: a new one, seeded with 0.
      family: kind of network.
    """
    random = random or np.random.default_rng(0)
    network = Network.parse(name)
    spread = noise * random.standard_normal(seeds)
    errors = np.full((seeds, EPOCHS), 0.5)
    errors[:, 1], errors[:, -1] = early + spread, error + spread
    correlations = np.broadcast_to(np.asarray(correlation, float), (3,))[None, :] + spread[:, None]
    per_layer = np.broadcast_to(correlations[:, None, :], (seeds, EPOCHS, 3))
    measured = {
        ("seed", "epoch"): errors,
        ("seed", "epoch", "layer"): per_layer,
        ("seed", "epoch", "slope_layer"): np.ones((seeds, EPOCHS, 3)) * np.asarray(slope),
        ("seed", "layer"): correlations,
        ("seed", "layer", "bin"): np.full((seeds, 3, BINS), 1 / BINS),
        ("seed",): np.zeros(seeds, int),
    }
    values = {name: measured[dimensions] for name, dimensions in finished.DIMENSIONS.items()}
    values["penalty"] = 1 + per_layer
    made_of = Cell(
        "mnist", network.size, network.variant, seeds, replace(RELEASED, epochs=EPOCHS, family=family)
    )
    said = dict.fromkeys(finished.ATTRIBUTES, "made up") | {
        "seconds": 1.0,
        "configuration": json.dumps(made_of.configuration()),
    }
    return values | said | {"correlation": np.corrcoef(random.standard_normal((UNITS, 30)))}


NAMES = tuple(variant.name for variant in VARIANTS)


def sweep(
    change=lambda size, variant: {},
    sizes=tuple(SIZES),
    variants=NAMES,
    noise=0.001,
    seeds=SEEDS,
    family="mlp",
):
    """Returns a sweep. Its cells differ only by noise, and by the options from change(size, variant)."""
    random = np.random.default_rng(1)
    options = {"noise": noise, "random": random, "seeds": seeds, "family": family}
    made = {
        Network.parse(f"{s}-{v}"): cell(f"{s}-{v}", **options | change(s, v)) for s in sizes for v in variants
    }
    networks = sorted(made, key=lambda network: network.order)
    dimensions = finished.DIMENSIONS | {"correlation": ("unit", "other_unit")}
    return xr.Dataset(
        {
            name: (
                ("cell", *dimensions.get(name, ())),
                np.stack([made[network][name] for network in networks]),
            )
            for name in made[networks[0]]
        },
        coords={
            "cell": [network.name for network in networks],
            "size": ("cell", [network.size for network in networks]),
            "variant": ("cell", [network.variant.name for network in networks]),
            "seed": np.arange(seeds),
            "epoch": np.arange(1, EPOCHS + 1),
            "layer": [1, 2, 3],
        },
    )
