"""A setting that was never trained, in the form that `results.load` gives."""

import json

import numpy as np
import xarray as xr

from experiments.comparison.methods import METHODS, Setting
from experiments.store import provenance

SEEDS, TRIALS, MOMENTS, LAYERS = 10, 4, 5, 3


def setting(errors, *, dataset="mnist", images=500, family="mlp", noise=0.001):
    """Methods by their mean test errors; tuned and tested they rank alike."""
    random = np.random.default_rng(0)

    def spread():
        values = noise * random.standard_normal(SEEDS)
        return values - values.mean()

    shared = spread()
    of = Setting(dataset, images, family, steps=100, trials=TRIALS, report_seeds=SEEDS, moments=MOMENTS)
    methods = []
    for name, error in errors.items():
        tuning = np.full((TRIALS, of.seeds, MOMENTS), error + 0.1)
        tuning[2, :, 3] = error
        test = error + shared + 0.1 * spread()
        numbers = of.numbers(METHODS[name])
        values = {
            "validation_error": (("seed", "moment"), np.full((SEEDS, MOMENTS), error)),
            "validation_nll": (("seed", "moment"), np.full((SEEDS, MOMENTS), 2 * error)),
            "test_error": (("seed",), test),
            "test_nll": (("seed",), 2 * test),
            "test_calibration_error": (("seed",), test / 2),
            "test_penalty": (("seed", "layer"), np.full((SEEDS, LAYERS), 5.0)),
            "tuning_error": (("trial", "tuning_seed", "moment"), tuning),
            "seconds": ((), 0.001),
        }
        values |= {
            each: (("trial",), np.array([getattr(one, each) for one in numbers], float))
            for each in ("learning_rate", "weight_decay", "penalty_share", "dropout_rate")
        }
        values["penalty_weight"] = ("trial",), 5 * values["penalty_share"][1]
        values |= {each: ((), "made up") for each in ("dataset_version", *provenance.NAMES)}
        methods.append(xr.Dataset(values, coords={"method": name, "seed": np.arange(3, 3 + SEEDS)}))
    whole = xr.concat(methods, dim="method")
    whole.attrs["setting"] = json.dumps(of.configuration())
    return whole
