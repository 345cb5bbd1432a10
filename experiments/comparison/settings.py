"""Settings of a comparison, and the work of one method in one of them: values, without JAX."""

from dataclasses import asdict, dataclass
from typing import ClassVar, Literal

from experiments.comparison.recipes import METHODS, WITHOUT_LABELS, Numbers, Recipe, search

Stage = Literal["search", "selection", "report"]
STAGES: tuple[Stage, ...] = ("search", "selection", "report")


@dataclass(frozen=True)
class Budget:
    """The number of networks for tuning and reporting each method."""

    points: int = 32
    """Number of points: sets of numbers that are tried."""
    seeds: int = 1
    """Number of networks for each point."""
    finalists: int = 6
    """Number of the best points, which get more networks."""
    more_seeds: int = 5
    """Number of further networks for each finalist."""
    report_seeds: int = 16
    """Number of networks in the report, with new seeds and the best finalist's numbers."""

    def __post_init__(self) -> None:
        for name, number in asdict(self).items():
            least = 2 if name == "report_seeds" else 1
            if number < least:
                raise ValueError(f"{name.replace('_', ' ')} must be at least {least}; got {number}")
        if self.finalists > self.points:
            raise ValueError(f"{self.finalists} finalists are more than the {self.points} points")

    def networks(self, stage: Stage) -> int:
        """The number of a method's networks in a stage."""
        seeds = len(self.stage_seeds(stage))
        return seeds * {"search": self.points, "selection": self.finalists, "report": 1}[stage]

    def stage_seeds(self, stage: Stage) -> range:
        """The seeds of a stage: no two stages share one."""
        tuned = self.seeds + self.more_seeds
        return {
            "search": range(self.seeds),
            "selection": range(self.seeds, tuned),
            "report": range(tuned, tuned + self.report_seeds),
        }[stage]


@dataclass(frozen=True)
class Setting:
    """One column of the table: data, network and budget, the same for all methods."""

    pool: str
    """Name of the data set."""
    identity: str
    """Version and hash of the data set."""
    rows: int
    """Rows of each sample. A fifth of them tune."""
    plain: Recipe = Recipe()  # noqa: RUF009
    budget: Budget = Budget()
    title: str = ""
    """The name of the plain recipe, if a comparison has several."""

    @property
    def name(self) -> str:
        """Its name in results: satimage-1000, mnist-2000-relu."""
        return "-".join(
            filter(None, [self.pool.replace("/", "-").replace(":", "-"), str(self.rows), self.title])
        )

    def numbers(self, method: str) -> tuple[Numbers, ...]:
        """The numbers of each point of a method."""
        methods = METHODS | WITHOUT_LABELS
        return search(methods[methods[method].numbers_of or method], self.plain, self.budget.points)


@dataclass(frozen=True)
class Work:
    """One method in one setting, from its first network to its last."""

    unit: ClassVar[str] = "network"
    setting: Setting
    method: str
    point: int | None = None
    """For a method that does not tune: the point that another one chose."""
    slopes_point: int | None = None
    """The point of the method that gives its slopes."""

    @property
    def name(self) -> str:
        return f"{self.setting.name} {self.method}"

    @property
    def stages(self) -> tuple[Stage, ...]:
        """Its stages."""
        return STAGES if self.point is None else ("report",)

    @property
    def runs(self) -> int:
        return sum(map(self.setting.budget.networks, self.stages))

    @property
    def length(self) -> int:
        return self.runs

    def cost(self, image_shape: tuple[int, ...]) -> float:
        """The number of steps, because all networks of a setting cost about the same."""
        return self.runs * self.setting.plain.steps
