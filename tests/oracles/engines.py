"""Finds and runs reference code: returns value and gradients in float64, or skips if the code is missing."""

import contextlib
import importlib.util
import inspect
import warnings
from pathlib import Path
from unittest import mock

import jax
import numpy as np
import pytest

DIFFERENTIABLE = ("a", "b", "maps", "others")


def part(package, file):
    """Imports one module of a package from its file. The package itself would import a whole trainer."""
    spec = importlib.util.find_spec(package)
    if spec is None:
        pytest.skip(f"{package} is not installed: `make oracles` has it")
    path = Path(spec.origin).parent / file
    inside = importlib.util.spec_from_file_location(f"{package}_{path.stem}", path)
    module = importlib.util.module_from_spec(inside)
    inside.loader.exec_module(module)
    return module


def optional(name):
    """Imports an installed module. Its own warnings are ignored, because we cannot fix them."""
    with warnings.catch_warnings(action="ignore"):
        return pytest.importorskip(name, reason=f"{name} is not installed: `make oracles` has it")


def chainer():
    # Chainer's last release needs NumPy 1's list of types by kind.
    kinds = {"float": [np.float16, np.float32, np.float64], "int": [np.int32, np.int64], "uint": [np.uint8]}
    kinds |= {"complex": [np.complex64, np.complex128], "others": [bool, object, bytes, str, np.void]}
    with mock.patch.object(np, "sctypes", kinds, create=True):
        return optional("chainer")


def cotangent(value):
    """Returns the weights of a value in the sum that is differentiated: 1 for a scalar."""
    value = np.asarray(value)
    return np.random.default_rng(1).normal(size=value.shape) if value.ndim else np.ones(())


def split(call, inputs):
    """Returns the inputs of a call by name, and the names of those by which it is differentiated."""
    given = {name: inputs[name] for name in inspect.signature(call).parameters}
    return given, [name for name in given if name in DIFFERENTIABLE]


def by_torch(call, inputs):
    torch = optional("torch")
    given, by = split(call, inputs)
    given = {name: torch.tensor(value, requires_grad=name in by) for name, value in given.items()}
    value = call(**given)
    (value * torch.tensor(cotangent(value.detach()))).sum().backward()
    return value.detach().numpy(), {name: given[name].grad.numpy() for name in by}


def by_chainer(call, inputs):
    variable = chainer().Variable
    given, by = split(call, inputs)
    given = {name: variable(value) if name in by else value for name, value in given.items()}
    value = call(**given)
    value.backward()
    return value.array, {name: given[name].grad for name in by}


def by_jax(call, inputs):
    given, by = split(call, inputs)
    # Other code may broadcast and promote silently, which our tests forbid.
    with jax.numpy_rank_promotion("allow"), jax.numpy_dtype_promotion("standard"):
        value = call(**given)
        weight = cotangent(value)
        total = lambda chosen: (call(**(given | chosen)) * weight).sum()  # noqa: E731
        return np.asarray(value), jax.grad(total)({name: given[name] for name in by})


def by_differences(call, inputs):
    """Runs NumPy code that is quadratic in its inputs. Central differences are then exact for any step."""
    given, by = split(call, inputs)
    value = np.asarray(call(**given))
    weight, gradients = cotangent(value), {}
    for name in by:
        x = given[name]
        gradients[name] = np.empty_like(x)
        for index in np.ndindex(x.shape):
            step = np.zeros_like(x)
            step[index] = 1
            up, down = (np.sum(call(**(given | {name: x + sign * step})) * weight) for sign in (1, -1))
            gradients[name][index] = (up - down) / 2
    return value, gradients


def by_hand(call, inputs):
    """Runs a call that itself returns its value and its gradients."""
    return call(**split(call, inputs)[0])


@contextlib.contextmanager
def doubles():
    """Makes new tensors of torch float64. Layers of torch have the default type."""
    torch = optional("torch")
    torch.set_default_dtype(torch.float64)
    try:
        yield torch
    finally:
        torch.set_default_dtype(torch.float32)
