"""Settings of a comparison, and the work of one method in one setting, as plain values without JAX."""

from dataclasses import asdict, dataclass
from typing import ClassVar, Literal

from experiments.comparison.recipes import METHODS, WITHOUT_LABELS, Numbers, Recipe, search

Stage = Literal["search", "selection", "report"]
STAGES: tuple[Stage, ...] = ("search", "selection", "report")

DECIDING = 6
"""With fewer report seeds than this, the page recommends nothing, because five differences are too few for a
test."""


@dataclass(frozen=True)
class Budget:
    """The number of networks for tuning and reporting each method."""

    points: int = 32
    """Number of points to try. A point is one set of hyperparameters."""
    seeds: int = 1
    """Number of networks for each point in the search."""
    finalists: int = 6
    """How many of the best points get more networks."""
    more_seeds: int = 5
    """Number of further networks for each finalist."""
    report_seeds: int = 16
    """Number of networks in the report, with new seeds and the best finalist's hyperparameters."""

    def __post_init__(self) -> None:
        for name, number in asdict(self).items():
            least = 2 if name == "report_seeds" else 1
            if number < least:
                raise ValueError(f"{name.replace('_', ' ')} must be at least {least}; got {number}")
        if self.finalists > self.points:
            raise ValueError(f"{self.finalists} finalists are more than the {self.points} points")

    def networks(self, stage: Stage) -> int:
        """Returns how many networks a stage trains for a method."""
        seeds = len(self.stage_seeds(stage))
        return seeds * {"search": self.points, "selection": self.finalists, "report": 1}[stage]

    def stage_seeds(self, stage: Stage) -> range:
        """Returns the seeds of a stage. No two stages share a seed."""
        tuned = self.seeds + self.more_seeds
        return {
            "search": range(self.seeds),
            "selection": range(self.seeds, tuned),
            "report": range(tuned, tuned + self.report_seeds),
        }[stage]


@dataclass(frozen=True)
class Setting:
    """The data, network and budget of a comparison, the same for all methods."""

    pool: str
    """Name of the data set."""
    identity: str
    """Version and hash of the data set."""
    rows: int
    """Number of rows in each sample. A fifth of them are for tuning."""
    plain: Recipe = Recipe()  # noqa: RUF009
    budget: Budget = Budget()
    title: str = ""
    """The plain recipe's name, if a comparison has several plain recipes."""

    @property
    def name(self) -> str:
        """The setting's name in results, such as satimage-1000 or mnist-2000-relu."""
        return "-".join(
            filter(None, [self.pool.replace("/", "-").replace(":", "-"), str(self.rows), self.title])
        )

    def numbers(self, method: str) -> tuple[Numbers, ...]:
        """Returns the hyperparameters of each point that a method tries."""
        methods = METHODS | WITHOUT_LABELS
        return search(methods[methods[method].numbers_of or method], self.plain, self.budget.points)


@dataclass(frozen=True)
class Work:
    """The training of all networks of one method in one setting."""

    unit: ClassVar[str] = "network"
    setting: Setting
    method: str
    point: int | None = None
    """The point to report, if another setting or method has already chosen it; None if this work chooses
    it."""
    slopes_point: int | None = None
    """The point of the method whose slopes are copied; None if no slopes are copied."""

    @property
    def name(self) -> str:
        return f"{self.setting.name} {self.method}"

    @property
    def stages(self) -> tuple[Stage, ...]:
        """The stages to run: only the report, if the point is already chosen."""
        return STAGES if self.point is None else ("report",)

    @property
    def runs(self) -> int:
        return sum(map(self.setting.budget.networks, self.stages))

    @property
    def length(self) -> int:
        return self.runs

    def cost(self, image_shape: tuple[int, ...]) -> float:
        """Returns the cost, counted in training steps: a step costs about the same in all networks."""
        return self.runs * self.setting.plain.steps
