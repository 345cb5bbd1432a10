"""Judges C12, C7 and C8 for convolutional networks, as planned in PLAN.md, part 2."""

from dataclasses import replace

import xarray as xr

from experiments.grid.cells import make_cells
from experiments.grid.networks import Size
from experiments.grid.protocols import BY_WEIGHT, RELEASED
from experiments.page import curves
from experiments.page.tables import Table
from experiments.paper import claims
from experiments.paper.study import Exhibit, Study, renamed
from experiments.statistics.verdicts import Verdict
from experiments.store.gathered import effective_units, split

SIZES: tuple[Size, ...] = ("tiny", "small")


def c12(sweep: xr.Dataset) -> Verdict:
    """Judges C12, decorrelation in convolutional layers (Section 4), by C4's comparisons for the small
    network."""
    return replace(
        claims.c4(sweep, SIZES[-1]),
        claim="C12",
        section="4",
        sentence="Another useful extension would be to extend the correlation regularizer so that it can be "
        "applied to convolutional layers.",
        remark="Channels are the units, and positions are the samples. We compare each layer's mean |rho|, "
        "taken over all positions in a minibatch.",
    )


def judge(sweep: xr.Dataset, main: xr.Dataset) -> tuple[Verdict, ...]:
    """Judges C12, C7 and C8 for convolutional networks."""
    return c12(sweep), renamed(claims.c7(sweep, SIZES), "conv"), renamed(claims.c8(sweep, SIZES), "conv")


def tables(sweep: xr.Dataset) -> list[Table]:
    """Returns the table of mean |rho| and effective units after training, without networks that diverged."""
    rows = []
    for cell in split(sweep):
        last = cell.isel(seed=cell.diverged_epoch.values == 0, epoch=-1)
        correlation = last.mean_correlation.mean("seed").values
        units = effective_units(cell).isel(epoch=-1).sel(seed=last.seed).mean("seed").values
        numbers = (f"{rho:.3f}, {effective:.1f}" for rho, effective in zip(correlation, units, strict=True))
        rows.append((str(cell.cell.values), *numbers))
    names = (f"layer {layer}: mean abs. rho, effective units" for layer in sweep.layer.values)
    return [Table(("network", *names), rows)]


STUDY = Study(
    "fashion_mnist-conv",
    make_cells(
        "fashion_mnist",
        replace(RELEASED, family="conv", epochs=20),
        SIZES,
        tuple(variant.name for variant in BY_WEIGHT),
        seeds=10,
    ),
    judge=judge,
    exhibit=Exhibit(
        "convolutions",
        "The penalty in convolutional layers",
        lambda sweep: (
            "The data are Fashion-MNIST. For each layer, the table shows mean |rho| and the effective number "
            "of units d / (2P), after the last epoch, on the validation set and averaged over seeds. The "
            "effective units are not corrected for chance."
        ),
        curves.correlation_curves,
        tables,
    ),
)
