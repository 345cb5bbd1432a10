"""Settings, and the runs of a comparison that are trained together: values, without JAX."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import ClassVar, Literal, NamedTuple

from experiments.methods.recipes import METHODS, Numbers, Recipe, search

Stage = Literal["search", "selection", "report"]


@dataclass(frozen=True)
class Budget:
    """How many networks each method is tuned and reported with."""

    points: int = 24
    """Sets of numbers that are tried, each with `seeds` networks."""
    seeds: int = 2
    finalists: int = 4
    """The best of the points, each tried with `more_seeds` other networks."""
    more_seeds: int = 8
    report_seeds: int = 20
    """Networks of the report, with seeds of their own and the best finalist's numbers."""

    def __post_init__(self) -> None:
        for name, number in asdict(self).items():
            least = 2 if name == "report_seeds" else 1
            if number < least:
                raise ValueError(f"{name.replace('_', ' ')} must be at least {least}; got {number}")
        if self.finalists > self.points:
            raise ValueError(f"{self.finalists} finalists are more than the {self.points} points")

    @property
    def runs(self) -> int:
        """Networks of a method."""
        return self.points * self.seeds + self.finalists * self.more_seeds + self.report_seeds

    def tuning_seeds(self, stage: Stage) -> range:
        """The seeds of a stage: no two stages share one."""
        first = {"search": 0, "selection": self.seeds, "report": self.seeds + self.more_seeds}[stage]
        count = {"search": self.seeds, "selection": self.more_seeds, "report": self.report_seeds}[stage]
        return range(first, first + count)


@dataclass(frozen=True)
class Setting:
    """One column of the table: data, network and budget, the same for all methods."""

    pool: str
    version: str
    rows: int
    """Of each sample, a fifth of which tunes."""
    plain: Recipe = Recipe()  # noqa: RUF009
    budget: Budget = Budget()  # noqa: RUF009

    @property
    def name(self) -> str:
        """How results name it: satimage-1000, mnist-5000-conv, fashion_mnist-1000-adamw."""
        kinds = [self.plain.family] * (self.plain.family != "mlp")
        kinds += [self.plain.optimiser] * (self.plain.optimiser != "momentum")
        return "-".join([self.pool.replace("/", "-"), str(self.rows), *kinds])

    def numbers(self, method: str) -> tuple[Numbers, ...]:
        """What each point of a method is trained with."""
        return search(METHODS[method], self.plain.optimiser, self.budget.points)

    def recipe(self, method: str) -> Recipe:
        """That of a method's networks."""
        return METHODS[method].recipe(self.plain)


class Identity(NamedTuple):
    """One network of a method in a setting."""

    point: int
    seed: int


@dataclass(frozen=True)
class Runs:
    """Some networks of one method and stage."""

    unit: ClassVar[str] = "network"
    setting: Setting
    method: str
    stage: Stage
    identities: tuple[Identity, ...]

    @property
    def name(self) -> str:
        first, last = self.identities[0], self.identities[-1]
        return f"{self.setting.name} {self.method}, {self.stage} {first.point}-{last.point}"

    @property
    def runs(self) -> int:
        return len(self.identities)

    @property
    def length(self) -> int:
        return self.runs

    def cost(self, image_shape: tuple[int, ...]) -> float:
        """Steps: all networks of a setting are alike."""
        return self.runs * self.setting.plain.steps


def split(runs: Runs, most: int) -> Sequence[Runs]:
    """The same networks in pieces of at most so many."""
    places = range(0, runs.runs, most)
    return [replace(runs, identities=runs.identities[first : first + most]) for first in places]
