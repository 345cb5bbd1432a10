"""Trials of a method: the runs that executors train."""

from dataclasses import dataclass
from typing import ClassVar

from experiments.comparison.methods import METHODS, Method, Numbers, Setting
from experiments.grid.networks import Recipe


@dataclass(frozen=True)
class Trials:
    """Some trials of a method with the same seeds, or its report; all of them networks of one program."""

    unit: ClassVar[str] = "moment"
    setting: Setting
    method_name: str
    numbers: tuple[Numbers, ...]
    """Numbers of each trial."""
    first: int
    """The first trial's place among those of the method."""
    seeds: tuple[int, ...]
    """Seeds of the networks of each trial."""
    test_moment: int | None = None
    """The moment after which the test split is evaluated; None: never, as while a method is tuned."""

    @property
    def method(self) -> Method:
        return METHODS[self.method_name]

    @property
    def name(self) -> str:
        if self.test_moment is not None:
            return f"{self.setting.name} {self.method_name}, report"
        last = self.first + len(self.numbers) - 1
        to = f" to {last}" if last > self.first else ""
        return f"{self.setting.name} {self.method_name}, trial {self.first}{to}"

    @property
    def runs(self) -> int:
        return len(self.numbers) * len(self.seeds)

    @property
    def length(self) -> int:
        return self.setting.moments

    def cost(self, image_shape: tuple[int, ...]) -> float:
        """Products of the hidden layers for all images that are seen in training."""
        products = Recipe(family=self.setting.family).products(self.setting.size, image_shape)
        return self.runs * self.setting.steps * products
