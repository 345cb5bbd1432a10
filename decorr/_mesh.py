"""Activations on a mesh whose axes are Explicit."""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import AxisType, NamedSharding, PartitionSpec


def over_mesh(
    function: Callable[..., Any],
    arrays: Sequence[jax.typing.ArrayLike | None],
    *static: Any,
    specs: Callable[[PartitionSpec], Any] = lambda spec: PartitionSpec(),
) -> Any:
    """function(*static, *arrays), also where arrays lie on a mesh whose axes are Explicit.

    The axes of `jax.make_mesh` are. There every operation asks where its result shall lie. Inside the
    function the compiler decides instead, as it does for Auto axes.

    Args:
      function: the same object each time, or each call is compiled.
      arrays: activations [..., unit] first.
      static: hashable arguments that come before the arrays.
      specs: how the results lie on the mesh, by how the activations do. Default: whole on every device.
    """
    arrays = [None if array is None else jnp.asarray(array) for array in arrays]
    shardings = [jax.typeof(array).sharding for array in jax.tree.leaves(arrays)]
    explicit = [each for each in shardings if AxisType.Explicit in each.mesh.axis_types]
    if not explicit:
        return function(*static, *arrays)
    mesh = explicit[0].mesh
    is_spec = lambda leaf: isinstance(leaf, PartitionSpec)  # noqa: E731
    out = jax.tree.map(lambda spec: NamedSharding(mesh, spec), specs(shardings[0].spec), is_leaf=is_spec)
    return _compiler_decides(function, static, mesh, out)(*arrays)


@functools.cache
def _compiler_decides(function: Callable[..., Any], static: tuple[Any, ...], mesh: Any, out: Any) -> Any:
    explicit = [
        name for name, kind in zip(mesh.axis_names, mesh.axis_types, strict=True) if kind == AxisType.Explicit
    ]
    chosen = functools.partial(function, *static)
    # Compiled, for outside of `jit` the axes of a mesh change under `jax.set_mesh` only.
    return jax.jit(jax.sharding.auto_axes(chosen, axes=tuple(explicit), out_sharding=out))
