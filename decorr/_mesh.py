"""Runs functions on activations that are spread over a mesh with Explicit axes."""

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
from jax.sharding import AxisType, NamedSharding, PartitionSpec

Result = TypeVar("Result")


def over_mesh(
    function: Callable[..., Result],
    arrays: Sequence[jax.typing.ArrayLike | None],
    *static: Any,
    specs: Callable[[PartitionSpec], Any] = lambda spec: PartitionSpec(),
) -> Result:
    """Calls function(*static, *arrays), even if the arrays are on a mesh with Explicit axes.

    The axes of `jax.make_mesh` are Explicit. On such axes every operation must state the layout of its
    result. Inside the function, the compiler decides the layouts instead, as it does on Auto axes. A profile
    shows the operations under the function's name, for example `decorr.zscore`.

    Args:
      function: the function to call. Pass the same object each time: each new object is compiled anew.
      arrays: the array arguments, with activations [..., unit] first.
      static: hashable arguments that come before the arrays.
      specs: a function that takes the activations' layout on the mesh, and returns the results' layout: a
        single layout for all results, or a tree of layouts. By default, every device has all results in full.
    """
    given = [None if array is None else jnp.asarray(array) for array in arrays]
    shardings = [jax.typeof(array).sharding for array in given if array is not None]
    explicit = [sharding for sharding in shardings if AxisType.Explicit in sharding.mesh.axis_types]
    scope = jax.named_scope(f"decorr.{function.__name__.strip('_')}")
    if not explicit:
        with scope:
            return function(*static, *given)
    mesh = explicit[0].mesh
    is_spec = lambda leaf: isinstance(leaf, PartitionSpec)  # noqa: E731
    out = jax.tree.map(lambda spec: NamedSharding(mesh, spec), specs(shardings[0].spec), is_leaf=is_spec)
    spread = [
        array if array is None or array.ndim < len(shardings[0].spec) else _by_samples(array)
        for array in given
    ]
    with scope:
        result: Result = _compiler_decides(function, static, mesh, out)(*spread)
    return result


def _by_samples(a: jax.Array) -> jax.Array:
    """Spreads activations over samples instead of units, if they have at least as many samples as units.

    Each device sends every other device only the part that the other device needs. The compiler alone would
    gather everything on every device. If the devices cannot share the first axis equally, `a` is returned
    as it is.
    """
    sharding = jax.typeof(a).sharding
    axes = jax.tree.leaves(tuple(sharding.spec))
    devices = math.prod(sharding.mesh.shape[axis] for axis in axes)
    if sharding.spec[-1] is None or a.shape[-1] > a.size // a.shape[-1] or a.shape[0] % devices:
        return a
    spread: jax.Array = jax.sharding.reshard(a, NamedSharding(sharding.mesh, PartitionSpec(tuple(axes))))
    return spread


@functools.cache
def _compiler_decides(function: Callable[..., Any], static: tuple[Any, ...], mesh: Any, out: Any) -> Any:
    explicit = [
        name for name, kind in zip(mesh.axis_names, mesh.axis_types, strict=True) if kind == AxisType.Explicit
    ]
    chosen = functools.partial(function, *static)
    # The function is compiled, because `auto_axes` can change the types of a mesh's axes only inside `jit` or
    # under `jax.set_mesh`.
    return jax.jit(jax.sharding.auto_axes(chosen, axes=tuple(explicit), out_sharding=out))
