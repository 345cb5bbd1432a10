"""JAX in this process: its settings, its devices, and copies of arrays to and from them."""

import contextlib
import os
import warnings
from collections.abc import Mapping
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from decorr.training.steps import TrainingState
from experiments.disk.files import cache_dir
from experiments.run import machine
from experiments.run.layout import filled

_PINNED = {
    "jax_enable_x64": False,
    "jax_default_prng_impl": "threefry2x32",
    "jax_threefry_partitionable": True,
    "jax_random_seed_offset": 0,
}
"""The JAX settings on which results depend. They are fixed, because stored configurations do not record
them."""


def configure(cpu_devices: int | None = None) -> None:
    """Sets the number of CPU devices and the compilation cache, and all settings on which results depend.

    Call it before anything runs on JAX. By default, there is a device for each core that this process may
    keep busy, because XLA's threads stay idle on the networks' small matrices. If you have configured
    jax_num_cpu_devices or jax_compilation_cache_dir, these settings stay.
    """
    for name, value in _PINNED.items():
        jax.config.update(name, value)
    # Hides the warning that minibatches of 50 are small for whitening in groups of 15 units. No option sets
    # the size of the groups.
    warnings.filterwarnings("ignore", "BatchWhitening:", UserWarning)
    if jax.config.jax_compilation_cache_dir is None and (folder := _compiled()):  # type: ignore[attr-defined]
        jax.config.update("jax_compilation_cache_dir", str(folder))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
    if cpu_devices is None and jax.config.jax_num_cpu_devices < 0:  # type: ignore[attr-defined]
        cpu_devices = machine.processors()
    if cpu_devices is not None:
        jax.config.update("jax_num_cpu_devices", cpu_devices)


def _compiled() -> Path | None:
    """Returns the folder of compiled programs, or None if this user cannot write there. In a folder that is
    not writable, JAX would warn about each program."""
    if (folder := cache_dir()) is None:
        return None
    with contextlib.suppress(OSError):
        (folder / "compiled").mkdir(parents=True, exist_ok=True)
    return folder / "compiled" if os.access(folder / "compiled", os.R_OK | os.W_OK | os.X_OK) else None


def devices() -> list[jax.Device]:
    """Returns this machine's devices. If there are none, RuntimeError names the platform."""
    try:
        return jax.devices()
    except (RuntimeError, AssertionError) as error:
        platform = jax.config.jax_platforms or "any platform"  # type: ignore[attr-defined]
        reason = (str(error).splitlines() or ["there is none"])[0]
        raise RuntimeError(f"JAX finds no device of {platform} (JAX_PLATFORMS): {reason}") from error


def to_host(tree: object, runs: int) -> dict[str, np.ndarray]:
    """Copies the first `runs` runs of a PyTree's arrays [run, ...] to NumPy. The arrays are named by
    their paths, and random keys become bits."""

    def on_host(leaf):
        is_key = jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
        # A copy, because the next epoch writes its states into the same memory.
        return np.array(jax.random.key_data(leaf) if is_key else leaf)[:runs]

    leaves = jax.tree.leaves_with_path(tree)
    return {jax.tree_util.keystr(path, simple=True, separator="."): on_host(leaf) for path, leaf in leaves}


def from_host(arrays: Mapping[str, np.ndarray], like: TrainingState) -> TrainingState:
    """Returns states, laid out on devices as in `like`, from arrays that `to_host` returned. Raises
    ValueError if the arrays do not fit."""

    def on_devices(path, leaf):
        name = jax.tree_util.keystr(path, simple=True, separator=".")
        is_key = jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
        data = jax.eval_shape(jax.random.key_data, leaf) if is_key else leaf
        array = arrays.get(name, np.empty(0))
        same = array.ndim == data.ndim and (array.shape[1:], array.dtype) == (data.shape[1:], data.dtype)
        if not same or not len(array):
            raise ValueError(
                f"the checkpoint has no {name} of {data.dtype} {[*data.shape[1:]]}: move it away"
            )
        array = filled(array, leaf.shape[0])
        value = jax.random.wrap_key_data(jnp.asarray(array)) if is_key else array
        return jax.device_put(value, leaf.sharding)

    return jax.tree.map_with_path(on_devices, like)
