"""Settings of all tests: cheap compiling, two devices or $CPU_DEVICES, no silent promotion, a time budget."""

import contextlib
import functools
import gc
import os
import time
from pathlib import Path

import pytest

# Compiling takes most of the time. So programs compile without optimisations, and are cached for processes
# of this run and of later runs. JAX reads these variables on import, also in processes that tests start.
PROGRAMS = Path(__file__).parents[1] / ".pytest_cache" / "jax"
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(PROGRAMS))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
if os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1") == "1":
    flags = ("--xla_cpu_use_fusion_emitters=false", "--xla_cpu_parallel_codegen_split_count=1")
    os.environ.setdefault("XLA_FLAGS", " ".join(flags))  # saves half of the rest, then a tenth

import jax  # noqa: E402
from jax._src.interpreters import mlir  # noqa: E402

# Without a cache, JAX makes a context for each program, which takes longer than lowering a small program.
mlir.make_ir_context = functools.cache(mlir.make_ir_context)

jax.config.update("jax_num_cpu_devices", int(os.environ.get("CPU_DEVICES", "2")))
jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_numpy_dtype_promotion", "strict")

KEPT = 7 * 24 * 3600
"""Seconds for which a compiled program is kept."""

CI = bool(os.environ.get("CI"))

NOT_QUICK = ("slow", "mesh", "real_data")

BUDGET = 20
"""Seconds of processor time for one quick test in CI, with its fixtures, its processes and what it compiles.

About three times the slowest test, because other machines are slower, and shared machines add time.
"""


def pytest_configure(config):
    # Programs of changed code would pile up. Another run may delete the same files at the same time.
    for file in PROGRAMS.glob("*"):
        with contextlib.suppress(FileNotFoundError):
            if time.time() - file.stat().st_mtime > KEPT:
                file.unlink()
    if CI:
        config.option.durations = config.option.durations or 10


def pytest_collection_finish():
    """Makes garbage collection rarer, because tracing makes many objects, and few of them die."""
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)


def pytest_runtest_setup(item):
    folder = os.environ.get("TFDS_DATA_DIR")
    sets = [os.path.join(folder or "", name) for name in ("mnist", "fashion_mnist")]
    if item.get_closest_marker("real_data") and not (folder and all(map(os.path.isdir, sets))):
        pytest.skip("TFDS_DATA_DIR names no folder with mnist and fashion_mnist")


def processor_seconds():
    return sum(os.times()[:4])


started = pytest.StashKey[float]()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item):
    item.stash[started] = processor_seconds()
    return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item):
    report = yield
    if CI and report.when == "teardown" and not any(map(item.get_closest_marker, NOT_QUICK)):
        seconds = processor_seconds() - item.stash[started]
        if seconds > BUDGET:
            report.outcome = "failed"
            report.longrepr = (
                f"{seconds:.1f} s of processor time; the budget is {BUDGET} s, or mark the test slow"
            )
    return report


@pytest.fixture(scope="module", autouse=True)
def forget_programs():
    """Frees compiled programs. They take most of a process's memory, and the next module uses few of them."""
    yield
    jax.clear_caches()
    mlir.make_ir_context.cache_clear()


@pytest.fixture
def float64():
    """Enables float64, for tests that compare with a float64 oracle."""
    with jax.enable_x64(True):
        yield


if "DECORR_INSTALLED" in os.environ:  # `make oldest` and `make pythons` test the wheel
    import decorr

    assert "site-packages" in decorr.__file__, decorr.__file__
