"""The library's programs for accelerators, made without one: lowered, neither compiled nor run."""

import functools
import re

import jax
import jax.numpy as jnp
import pytest
from jax import export

from decorr import (
    CorrelationState,
    correlation_penalty,
    dropout,
    fit_whitening,
    pair_penalty,
    sample_positions,
    sigreg_loss,
    whiten,
)
from decorr.diagnostics import linear_cka, spectrum

# The platform's solvers that programs may call, for whitening's eigenvectors and triangular factors. XLA
# itself provides mhlo.topk, which finds the units with the largest variances.
SOLVERS = {"cuda": r"cu\w+|mhlo.topk", "tpu": r"Eigh|Qr|mhlo.topk"}


def with_gradient(function, **keywords):
    """The value and gradient over samples, some of which are valid."""
    return jax.value_and_grad(lambda a, where: function(a, where=where, **keywords).sum())


def updated(a, where):
    return CorrelationState.init(a.shape[-1]).update(a, where=where).correlation()


def dropped(a, where):
    return dropout(jax.random.key(0), a, where.mean())


def at_positions(a, where):
    return sample_positions(a[None], jax.random.key(0), 4, where=where[None])


def fitted(a, where):
    return fit_whitening(a, method="cholesky", where=where)


PROGRAMS = {
    "penalty": with_gradient(correlation_penalty),
    "correlation": with_gradient(pair_penalty, kind="correlation"),
    "covariance": with_gradient(pair_penalty, kind="covariance"),
    "spectrum": with_gradient(spectrum),
    "cka": with_gradient(lambda a, where: linear_cka(a, jnp.sin(a), where=where)),
    "sigreg": with_gradient(functools.partial(sigreg_loss, key=jax.random.key(0), slices=4)),
    "stream": updated,
    "fitted": fitted,
    "dropout": dropped,
    "positions": at_positions,
    **{method: with_gradient(whiten, method=method) for method in ("zca", "cholesky", "newton")},
}


WIDE = (
    "penalty",
    "correlation",
    "covariance",
    "spectrum",
    "cka",
)  # computed from another matrix if there are more units than samples


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "shape"), [(name, (64, 8)) for name in PROGRAMS] + [(name, (8, 64)) for name in WIDE]
)
def test_accelerators_have_what_a_program_calls(name, shape):
    arrays = jax.ShapeDtypeStruct(shape, jnp.float32), jax.ShapeDtypeStruct(shape[:1], bool)
    for platform, solvers in SOLVERS.items():
        exported = export.export(jax.jit(PROGRAMS[name]), platforms=[platform])(*arrays)
        called = re.findall(r"custom_call @([\w.]+)", exported.mlir_module())
        assert all(re.fullmatch(solvers, target) for target in called), (platform, called)
