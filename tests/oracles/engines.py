"""How reference code is found and run: the value and gradients of a call in float64; a skip if absent."""

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
    """One module of a package by its file, for the packages import a whole trainer each."""
    spec = importlib.util.find_spec(package)
    if spec is None:
        pytest.skip(f"{package} is not installed: `make oracles` has it")
    path = Path(spec.origin).parent / file
    inside = importlib.util.spec_from_file_location(f"{package}_{path.stem}", path)
    module = importlib.util.module_from_spec(inside)
    inside.loader.exec_module(module)
    return module


def optional(name):
    """An installed module as it is; it may warn while it is imported, which is not ours to mend."""
    with warnings.catch_warnings(action="ignore"):
        return pytest.importorskip(name, reason=f"{name} is not installed: `make oracles` has it")


def chainer():
    # Chainer's last release asks NumPy 1 for its types by kind.
    kinds = {"float": [np.float16, np.float32, np.float64], "int": [np.int32, np.int64], "uint": [np.uint8]}
    kinds |= {"complex": [np.complex64, np.complex128], "others": [bool, object, bytes, str, np.void]}
    with mock.patch.object(np, "sctypes", kinds, create=True):
        return optional("chainer")


def cotangent(value):
    """What a value is multiplied with before it is summed and differentiated: 1 for a scalar."""
    value = np.asarray(value)
    return np.random.default_rng(1).normal(size=value.shape) if value.ndim else np.ones(())


def split(call, inputs):
    """The inputs that a call asks for, and which of them it is differentiated by."""
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
    # Our rules against silent broadcasting are not those of other code.
    with jax.numpy_rank_promotion("allow"), jax.numpy_dtype_promotion("standard"):
        value = call(**given)
        weight = cotangent(value)
        total = lambda chosen: (call(**(given | chosen)) * weight).sum()  # noqa: E731
        return np.asarray(value), jax.grad(total)({name: given[name] for name in by})


def by_differences(call, inputs):
    """For NumPy and what is quadratic in its inputs: there a central difference of any step is exact."""
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
    """For a call that returns its value and its gradients itself."""
    return call(**split(call, inputs)[0])


@contextlib.contextmanager
def doubles():
    """New tensors of torch are float64: a layer of torch is made in the default type."""
    torch = optional("torch")
    torch.set_default_dtype(torch.float64)
    try:
        yield torch
    finally:
        torch.set_default_dtype(torch.float32)
