"""Processes that each hold one function ready for timing. Each process has its own cores and threads.

A worker calls `build(**arguments)`, where build is a text "module:function". `build` returns two things: the
function to time, which takes no arguments; and a report, which the worker sends to the parent. Then the
worker reads numbers, and answers each number n with the mean time of n calls.
"""

import importlib
import json
import math
import os
import statistics
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from experiments.run.machine import cores, processors

Work = tuple[Callable[[], object], dict[str, Any]]
"""The function to time, which returns only when its work is done; and a report."""


class Worker:
    """One process. Its first answer is its report, and each later answer has the seconds of a call."""

    def __init__(self, build: str, *, on: Sequence[int], **arguments: Any) -> None:
        threads = str(len(on))
        environment = {
            # Libraries read these variables only on import, so each worker is its own process.
            "OMP_NUM_THREADS": threads,
            "OPENBLAS_NUM_THREADS": threads,
            "MKL_NUM_THREADS": threads,
            "KERAS_BACKEND": "jax",
            "XLA_PYTHON_CLIENT_PREALLOCATE": "false",  # a GPU is shared by all workers
        }
        self._name = build
        self._process = subprocess.Popen(
            [sys.executable, "-m", __name__, build, json.dumps(list(on)), json.dumps(arguments)],
            env=os.environ | environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,  # errors are sent as answers
            text=True,
        )

    def call(self, times: int) -> None:
        assert self._process.stdin
        print(times, file=self._process.stdin, flush=True)

    def stop(self) -> None:
        self._process.kill()
        self._process.communicate()

    def answer(self) -> dict[str, Any]:
        """Waits for the next answer. Raises RuntimeError if the process failed or died."""
        assert self._process.stdout
        line = self._process.stdout.readline()
        answer = json.loads(line) if line else {"failed": "the process died"}
        if "failed" in answer:
            raise RuntimeError(f"{self._name}: {answer['failed']}")
        return answer


class Group:
    """A context with workers that do the same work at the same time, each on its own cores."""

    def __init__(self, build: str, layout: Sequence[Sequence[int]], **arguments: Any) -> None:
        self._workers = [Worker(build, on=on, **arguments) for on in layout]

    def __enter__(self) -> "Group":
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self._workers:
            worker.stop()

    def reports(self) -> list[dict[str, Any]]:
        return [worker.answer() for worker in self._workers]

    def seconds(self, times: int = 1) -> float:
        """Returns the seconds of one call in the slowest worker, averaged over `times` calls."""
        for worker in self._workers:
            worker.call(times)
        return max(worker.answer()["seconds"] for worker in self._workers)


def separate() -> list[list[int]]:
    """Returns the layout with one process on each core, for as many cores as may be busy at the same time."""
    return [[core] for core in cores()[: processors()]]


def together() -> list[list[int]]:
    """Returns the layout with one process on all cores."""
    return [cores()]


def interleaved(groups: Mapping[str, Group], repeats: int) -> dict[str, list[float]]:
    """Returns the seconds per call of each group's function, for each repeat. The groups take turns in every
    repeat. Short functions are called many times in a turn."""
    calls = {name: max(1, math.ceil(0.1 / group.seconds())) for name, group in groups.items()}
    turns = [{name: group.seconds(calls[name]) for name, group in groups.items()} for _ in range(repeats)]
    return {name: [turn[name] for turn in turns] for name in groups}


def median_ratio(numerator: Sequence[float], denominator: Sequence[float]) -> float:
    """Returns the ratio numerator / denominator: the median over the repeats. If the machine slows down for a
    while, both times of a repeat become longer, and their ratio hardly changes."""
    return statistics.median(n / d for n, d in zip(numerator, denominator, strict=True))


def _main(build: str, on: Sequence[int], arguments: dict[str, Any]) -> None:
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # text that libraries print must not be taken for an answer

    def answer(**values: Any) -> None:
        print(json.dumps(values), file=answers, flush=True)

    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, on)
    try:
        module, _, function = build.partition(":")
        work, report = getattr(importlib.import_module(module), function)(**arguments)
        answer(**report)
        for line in sys.stdin:
            start = time.perf_counter()
            for _ in range(times := int(line)):
                work()
            answer(seconds=(time.perf_counter() - start) / times)
    except Exception as error:  # the parent must know of every error
        answer(failed=f"{type(error).__name__}: {error} {traceback.format_exc(limit=-3)}")


if __name__ == "__main__":
    _main(sys.argv[1], json.loads(sys.argv[2]), json.loads(sys.argv[3]))
