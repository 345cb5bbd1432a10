"""What each row of docs/conversion.md is compared with: the code where there is a package, else a formula.

Formulas are written as their source has them, in torch or NumPy, never by way of decorr. The inputs: `a` and
`b` [sample, unit], `maps` and `others` [sample, position, unit], `weights`, `counts` and `keep` [sample].
"""

import functools

import numpy as np

from tests.oracles.engines import (
    by_chainer,
    by_differences,
    by_hand,
    by_jax,
    by_torch,
    chainer,
    doubles,
    optional,
    part,
)

try:
    import torch
except ImportError:
    torch = None  # by_torch skips then

REFERENCES = {}


def reference(row, engine):
    """Enters a call as what the row of that name is compared with; the engine runs and differentiates it."""

    def enter(call):
        assert row not in REFERENCES, row
        REFERENCES[row] = functools.partial(engine, call)
        return call

    return enter


def off_diagonal(matrix):
    return matrix[~torch.eye(len(matrix), dtype=torch.bool)]


def hinge(a):
    return torch.relu(1 - torch.sqrt(a.var(dim=0) + 1e-4)).mean()


# Correlations


@reference("corrcoef-torch", by_torch)
def _(a):
    return torch.corrcoef(a.T)


@reference("corrcoef-where-torch", by_torch)
def _(a, keep):
    return torch.corrcoef(a[keep].T)


@reference("simon", by_torch)
def _(a):
    return torch.corrcoef(a.T).square().sum() / (2 * a.shape[1])


@reference("simon-code", by_hand)
def _(a):
    """The gradient of Section 3.1 over the m samples; what the code reports is twice the value."""
    m, d = a.shape
    sigma, rho = a.std(axis=0, ddof=1), np.corrcoef(a, rowvar=False)
    z = (a - a.mean(axis=0)) / sigma
    gradient = np.zeros((m, d))
    for unit in range(d):
        for other in range(d):
            r = rho[other, unit]
            gradient[:, unit] += 2 / (d * (m - 1) * sigma[unit]) * r * (z[:, other] - z[:, unit] * r)
    return np.sum(rho**2) / (m * d) / 2, {"a": gradient / m}


@reference("vibcreg", by_torch)
def _(a):
    z = torch.nn.functional.normalize(a - a.mean(dim=0), dim=0)
    rho = z.T @ z
    return (rho - torch.diag(torch.diag(rho))).square().mean()


@reference("feddecorr", by_torch)
def _(a):
    return torch.corrcoef(a.T).square().sum() / a.shape[1] ** 2


@reference("feddecorr-code", by_torch)
def _(a):
    z = (a - a.mean(dim=0)) / torch.sqrt(a.var(dim=0) + 1e-8)
    return off_diagonal(z.T @ z).square().mean() / len(a)


@reference("barlow-one-view-lightly", by_torch)
def _(a):
    return part("lightly", "loss/barlow_twins_loss.py").BarlowTwinsLoss()(a, a)


@reference("barlow-lightly", by_torch)
def _(a, b):
    return part("lightly", "loss/barlow_twins_loss.py").BarlowTwinsLoss()(a, b)


@reference("barlow-solo-learn", by_torch)
def _(a, b):
    with doubles():
        return part("solo", "losses/barlow.py").barlow_loss_func(a, b)


@reference("barlow-facebook", by_torch)
def _(a, b):
    with doubles():
        normal = torch.nn.BatchNorm1d(a.shape[1], affine=False)
        c = normal(a).T @ normal(b) / len(a)
    return 0.024 * ((torch.diagonal(c) - 1).square().sum() + 0.0051 * off_diagonal(c).square().sum())


@reference("frossl-lightly", by_torch)
def _(a, b):
    loss = part("lightly", "loss/frossl_loss.py").FroSSLLoss(invariance_weight=0.0)
    return loss([a - a.mean(dim=0), b - b.mean(dim=0)])


# Covariances


@reference("cov-weights-torch", by_torch)
def _(a, weights):
    return torch.cov(a.T, aweights=weights)


@reference("cov-weights-numpy", by_differences)
def _(a, weights):
    return np.cov(a, rowvar=False, aweights=weights)


@reference("cov-counts-torch", by_torch)
def _(a, counts):
    return torch.cov(a.T, fweights=counts)


@reference("cov-where-biased-numpy", by_differences)
def _(a, keep):
    return np.cov(a[keep], rowvar=False, ddof=0)


@reference("covariance-weights", by_torch)
def _(a, weights):
    return off_diagonal(torch.cov(a.T, aweights=weights)).square().sum()


@reference("correlation-weights", by_torch)
def _(a, weights):
    c = torch.cov(a.T, aweights=weights)
    deviation = torch.sqrt(torch.diagonal(c))
    return off_diagonal(c / (deviation[:, None] * deviation[None])).square().mean()


@reference("decov-chainer", by_chainer)
def _(a):
    return chainer().functions.decov(a)


@reference("decov-where-chainer", by_chainer)
def _(a, keep):
    return chainer().functions.decov(chainer().functions.get_item(a, np.flatnonzero(keep)))


@reference("xcov-chainer", by_chainer)
def _(a, b):
    return chainer().functions.cross_covariance(a, b)


@reference("weak-sigreg", by_torch)
def _(a):
    c = a - a.mean(dim=0)
    return torch.linalg.norm(c.T @ c / (len(a) - 1 + 1e-6) - torch.eye(a.shape[1]))


# Variance, invariance, covariance


@reference("vicreg-covariance-lightly", by_torch)
def _(a):
    return part("lightly", "loss/vicreg_loss.py").covariance_loss(a)


@reference("vicreg-variance-lightly", by_torch)
def _(a):
    return part("lightly", "loss/vicreg_loss.py").variance_loss(a)


@reference("vicreg-invariance-lightly", by_torch)
def _(a, b):
    return part("lightly", "loss/vicreg_loss.py").invariance_loss(a, b)


@reference("vicreg-lightly", by_torch)
def _(a, b):
    return part("lightly", "loss/vicreg_loss.py").VICRegLoss()(a, b)


@reference("vicreg-where-lightly", by_torch)
def _(a, b, keep):
    return part("lightly", "loss/vicreg_loss.py").VICRegLoss()(a[keep], b[keep])


@reference("vicreg-pml", by_torch)
def _(a, b):
    return optional("pytorch_metric_learning.losses").VICRegLoss()(a, ref_emb=b)


@reference("vicreg-solo-learn", by_torch)
def _(a, b):
    with doubles():
        return part("solo", "losses/vicreg.py").vicreg_loss_func(a, b)


@reference("vicreg-paper", by_torch)
def _(a, b):
    m, d = a.shape
    invariance = (a - b).square().sum() / m
    covariance = sum(off_diagonal(torch.cov(view.T)).square().sum() / d for view in (a, b))
    return 25 * invariance + 25 * (hinge(a) + hinge(b)) + covariance


@reference("vcreg-covariance", by_torch)
def _(a):
    return off_diagonal(torch.cov(a.T)).square().mean()


@reference("vicregl-covariance-lightly", by_torch)
def _(maps):
    return part("lightly", "loss/vicreg_loss.py").covariance_loss(maps)


@reference("vicregl-lightly", by_torch)
def _(maps, others):
    return part("lightly", "loss/vicreg_loss.py").VICRegLoss(nu_param=0.5)(maps, others)


@reference("vcreg", by_torch)
def _(a):
    return 0.64 * hinge(a) + 0.08 * off_diagonal(torch.cov(a.T)).square().mean()


@reference("vcreg-smooth", by_torch)
def _(a):
    size = off_diagonal(torch.cov(a.T)).abs()
    return 0.64 * hinge(a) + 0.08 * torch.where(size <= 0.1, size.square(), 0.2 * size - 0.01).mean()


@reference("vcreg-stable-pretraining", by_jax)
def _(a):
    return part("stable_pretraining", "jax/losses/utils.py").vcreg_loss(a)
