"""What a comparison says: the table of a setting, C10, and whether the penalty can be recommended."""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import xarray as xr

from experiments.comparison import results
from experiments.comparison.methods import BASE, PLANNED, Setting
from experiments.statistics import intervals
from experiments.statistics.intervals import Interval
from experiments.statistics.verdicts import Comparison, Verdict, above_zero
from experiments.store.gathered import units_worth

VANILLA, OURS, RIVALS = "vanilla", "corr", ("decov", "vcreg")


class Row(NamedTuple):
    """A method in a setting."""

    method: str
    numbers: dict[str, float]
    """The best trial's, those that the method chooses, and the penalty's weight."""
    step: int
    """After which its networks were looked at."""
    validation_error: float
    """Of the best trial, over the tuning seeds: by this it was chosen."""
    error: Interval
    """Of the test split, over the report's seeds, with Student's 95% interval; so are the next two."""
    nll: Interval
    calibration_error: Interval
    effective_units: list[float]
    """Of each hidden layer on the test split, the mean over seeds."""
    seconds: float
    """Of a training step of one network."""
    diverged: int
    """How many of the report's networks: they have the error of guessing, and are in none of the others."""
    error_without: float
    """The mean test error of those that did not; NaN if all did."""
    to_vanilla: Comparison | None
    """Its error subtracted from vanilla's; None of vanilla itself."""
    best_other: str
    """The other method of least validation error."""
    to_best: Comparison | None
    """Its error subtracted from that one's; None if it is alone."""

    @property
    def helps(self) -> bool:
        """Whether it is decidedly better than vanilla."""
        return self.to_vanilla is not None and self.to_vanilla.outcome == "for"

    @property
    def worth_it(self) -> bool:
        """Whether it helps and is not decidedly worse than the best other method."""
        return self.helps and self.to_best is not None and self.to_best.outcome != "against"


def rows(found: xr.Dataset) -> list[Row]:
    """Of every method of a setting; differences are corrected by Holm for all of the setting's."""
    setting = results.setting_of(found)
    names = [str(name) for name in found.method.values]
    tuned = {name: results.best(results.one(found, name).tuning_error.values) for name in names}
    scores = {
        name: round(float(results.one(found, name).tuning_error[trial, :, moment - 1].mean()), 9)
        for name, (trial, moment) in tuned.items()
    }
    others = {
        name: min((other for other in names if other != name), key=scores.__getitem__, default="")
        for name in names
    }
    differences = {
        label: difference(found, other, name)
        for name in names
        for label, other in _rivals(name, others[name])
    }
    compared = dict(zip(differences, above_zero(differences), strict=True))

    def row(name: str) -> Row:
        one, (trial, moment) = results.one(found, name), tuned[name]
        to = {label.split(" - ")[0]: compared[label] for label, _ in _rivals(name, others[name])}
        return Row(
            name,
            _numbers(one, trial),
            moment * setting.steps // setting.moments,
            scores[name],
            _mean(one.test_error.values),
            _mean(one.test_nll.values),
            _mean(one.test_calibration_error.values),
            [float(units) for units in effective_units(one, setting).mean("seed")],
            float(one.seconds),
            int(np.isnan(one.test_nll).sum()),
            _mean(one.test_error.where(one.test_nll.notnull()).values).estimate,
            to.get(VANILLA),
            others[name],
            to.get("best other"),
        )

    return [row(name) for name in names]


def difference(found: xr.Dataset, method: str, other: str) -> np.ndarray:
    """The test error of a method less another's, [seed], paired."""
    error, others = (results.one(found, name).test_error.values for name in (method, other))
    return error.astype(np.float64) - others


def _rivals(name: str, best_other: str) -> list[tuple[str, str]]:
    """What a method is compared to: label and method."""
    vanilla = [(f"{VANILLA} - {name}", VANILLA)] if name != VANILLA else []
    return vanilla + ([(f"best other - {name}", best_other)] if best_other else [])


def _numbers(one: xr.Dataset, trial: int) -> dict[str, float]:
    """What a trial was trained with: the learning rate, and what the method varies from trial to trial."""
    names = ("learning_rate", "weight_decay", "dropout_rate", "penalty_share", "penalty_weight")
    varied = [name for name in names if name == "learning_rate" or np.ptp(one[name].values) > 0]
    return {name: float(one[name][trial]) for name in varied}


def _mean(values: np.ndarray) -> Interval:
    return intervals.of_mean(values[np.isfinite(values)])


def effective_units(one: xr.Dataset, setting: Setting) -> xr.DataArray:
    """Of a method's networks on the test split [seed, layer], as `decorr.effective_units`; NaN if diverged.

    From the mean of P over minibatches, without what chance adds; of layers with positions, whose effective
    number of samples nobody knows, with it.
    """
    penalty = one.test_penalty.where(one.test_nll.notnull())
    return units_worth(penalty, setting.widths, BASE.batch_size if setting.family == "mlp" else None)


def c10(comparison: Sequence[xr.Dataset]) -> tuple[Verdict, ...]:
    """Section 1.2, of all settings here that have corr, decov and vcreg; () if none has."""
    differences = {}
    for found in comparison:
        names = {str(name) for name in found.method.values}
        for rival in RIVALS:
            if {OURS, rival} <= names:
                what = f"{results.setting_of(found).name}: {rival} - {OURS}"
                differences[what] = difference(found, rival, OURS)
    if not differences:
        return ()
    planned = len(RIVALS) * len(PLANNED)
    interim = f" These are {len(differences)} of the plan's {planned} comparisons." * (
        len(differences) < planned
    )
    return (
        Verdict(
            "C10",
            "1.2",
            "Our proposed method distinguishes itself by discarding magnitude information in order to "
            "penalization correlations directly, as these are likely to be a better reflection of the "
            "feature information encoded by the units.",
            above_zero(differences),
            "Read as: at equal tuning (python -m experiments.compare) the test error is smaller with the "
            "penalty on correlations than with either of two on covariances." + interim,
        ),
    )


def recommendation(tables: Iterable[tuple[Setting, Sequence[Row]]]) -> str:
    """Whether corr can be recommended, in plain words, by the fully connected networks: as PLAN.md says."""
    found: dict[str, dict[int, Row]] = {}
    for setting, table in tables:
        for row in table:
            if setting.family == "mlp" and row.method == OURS:
                found.setdefault(setting.dataset, {})[setting.images] = row
    if not found:
        return ""
    sizes = sorted(set.intersection(*(set(by_size) for by_size in found.values())))
    sets = " and ".join(found)
    worth = [size for size in sizes if all(by_size[size].worth_it for by_size in found.values())]
    mine = [(name, size, by_size[size]) for name, by_size in found.items() for size in sorted(by_size)]
    anywhere = [(name, size) for name, size, row in mine if row.worth_it]
    helped = [(name, size) for name, size, row in mine if row.helps]
    listed = ", ".join(f"{name} with {size:,} images" for name, size in helped)
    if not anywhere:
        where = f" (it beat vanilla on {listed}, but another method beat it)" if helped else ""
        return f"On {sets}: do not use the penalty to lower the error{where}."
    elsewhere = [(name, size) for name, size in anywhere if size not in worth]
    if worth and worth == sizes[: len(worth)] and not elsewhere:
        if worth == sizes:
            return f"On {sets}: use the penalty, at all sizes that were tried, up to {worth[-1]:,} images."
        return f"On {sets}: use the penalty up to {worth[-1]:,} training images, else do not."
    return f"On {sets} no recommendation can be given; the penalty beat vanilla on {listed}."


def grouped(comparison: Sequence[xr.Dataset]) -> Mapping[str, list[xr.Dataset]]:
    """Settings by data set and family, each by the number of images."""
    groups: dict[str, list[xr.Dataset]] = {}
    for found in sorted(comparison, key=lambda each: results.setting_of(each).images):
        setting = results.setting_of(found)
        family = "" if setting.family == "mlp" else ", convolutional"
        groups.setdefault(f"{setting.dataset}{family}", []).append(found)
    return groups
