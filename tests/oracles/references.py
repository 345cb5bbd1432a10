"""The reference for each row of docs/conversion.md: code from a package if there is one, or else a formula.

Formulas follow their source, in torch or NumPy, and never use decorr. The inputs: `a` and
`b` [sample, unit], `maps` and `others` [sample, position, unit], `weights`, `counts` and `keep` [sample],
`directions` [unit, slice] of length 1.
"""

import functools
import sys
from unittest import mock

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
    torch = None  # by_torch then skips

REFERENCES = {}


def reference(row, engine):
    """Registers a function as the reference of a row. The engine runs and differentiates the function."""

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
    """P / m, with the gradient of Section 3.1 divided by m. The paper's code reports twice this value."""
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


@reference("vicreg-eb-jepa", by_torch)
def _(a, b):
    invariance = (a - b).square().mean()
    return invariance + sum(hinge(x) + off_diagonal(torch.cov(x.T)).square().mean() for x in (a, b))


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


# SIGReg and LeJEPA


def epps_pulley(a, directions):
    """The Epps-Pulley statistic [slice], times m. LeJEPA's knots on [0, 3] each stand for two."""
    t = torch.linspace(0, 3, 17, dtype=a.dtype)
    normal, width = torch.exp(-t.square() / 2), torch.full_like(t, 2 * 3 / 16)
    width[[0, -1]] = 3 / 16
    angle = (a @ directions)[:, :, None] * t
    distance = (angle.cos().mean(dim=0) - normal).square() + angle.sin().mean(dim=0).square()
    return len(a) * distance @ (width * normal)


def epps_pulley_of_ten_knots(a, directions):
    t = torch.linspace(-3, 3, 10, dtype=a.dtype)
    normal = torch.exp(-t.square() / 2)
    empirical = torch.exp(1j * (a @ directions)[:, :, None] * t).mean(dim=0)
    return torch.trapezoid(normal * (empirical - normal).abs().square(), t, dim=1)


def around_centre(a, b):
    views = torch.stack([a, b])
    return (views.mean(dim=0) - views).square().mean()


@reference("sigreg-lightly", by_torch)
def _(a, directions):
    return epps_pulley(a, directions).mean()


@reference("lejepa-lightly", by_torch)
def _(a, b, directions):
    statistic = torch.stack([epps_pulley(view, directions) for view in (a, b)]).mean()
    return 0.95 * around_centre(a, b) + 0.05 * statistic


@reference("lejepa-stable-pretraining", by_torch)
def _(a, b, directions):
    return around_centre(a, b) + 0.02 * epps_pulley(torch.cat([a, b]), directions).mean()


@reference("bcs-eb-jepa", by_torch)
def _(a, b, directions):
    statistic = sum(epps_pulley_of_ten_knots(view, directions).mean() for view in (a, b)) / 2
    return (a - b).square().mean() + 10 * statistic


# Ranks of a layer


def entropy_rank(p):
    return torch.exp(-(p * torch.log(p)).sum())


def singular_values(a):
    return torch.linalg.svdvals(a)


def centred(a):
    return a - a.mean(dim=0)


@reference("rankme", by_torch)
def _(a):
    s = singular_values(a)
    return entropy_rank(s / s.sum() + 1e-7)


@reference("rankme-stable-pretraining", by_torch)
def _(a):
    s = singular_values(a)
    return entropy_rank(s / s.sum() + 1e-5)


def of_explained(a):
    """The rank from the min(m, d) eigenvalues of PCA. If m <= d, one eigenvalue is 0."""
    explained = singular_values(centred(a)).square()
    return entropy_rank(explained / explained.sum() + 1e-7)


@reference("rankme-reptrix", by_hand)
def _(a):
    """The package has no gradient, so the gradient is the formula's. Its import of matplotlib is mocked."""
    drawing = {name: mock.MagicMock() for name in ("matplotlib", "matplotlib.pyplot")}
    with mock.patch.dict(sys.modules, drawing):
        value = optional("reptrix.rankme").get_rankme(torch.tensor(a))
    return np.float64(value), by_torch(of_explained, {"a": a})[1]


@reference("roy-vetterli", by_torch)
def _(a):
    s = singular_values(centred(a))[: min(len(a) - 1, a.shape[1])]  # the others are 0
    return entropy_rank(s / s.sum())


@reference("stable-rank", by_torch)
def _(a):
    return a.square().sum() / torch.linalg.matrix_norm(a, ord=2).square()


@reference("nesum", by_torch)
def _(a):
    values = torch.linalg.eigvalsh(torch.cov(a.T))
    return values.sum() / values[-1]


@reference("participation-ratio", by_torch)
def _(a):
    c = torch.cov(a.T)
    return torch.trace(c).square() / c.square().sum()


def row_corrected(a):
    """Dimensionality's `row`: sums over distinct samples, computed from sums over all samples."""
    m = len(a)
    k = a @ a.T
    norms, rows = torch.diagonal(k), k.sum(dim=1)
    iijj, iijl, ijlr = norms.sum() ** 2, norms.sum() * k.sum(), k.sum() ** 2
    ijij, ijjl, iiij, iiii = k.square().sum(), rows.square().sum(), (norms * rows).sum(), norms.square().sum()
    above = iijj - 2 / (m - 1) * iijl + (4 * iiij - m * iiii) / (m - 2)
    above = above + (ijlr - 4 * ijjl + 2 * ijij - iijj) / ((m - 1) * (m - 2))
    below = ijij - m / (m - 2) * iiii + 2 / (m - 2) * (2 * iiij - ijjl)
    below = below + (iijj - 2 * iijl + ijlr) / ((m - 1) * (m - 2))
    return above / below


@reference("participation-ratio-debiased", by_hand)
def _(a):
    """The package has no gradient, so the gradient is the formula's."""
    value = optional("dimensionality").participation_ratio(a, return_all=True)["row"]
    return np.float64(value), by_torch(row_corrected, {"a": a})[1]


def reached(s, share):
    return np.float64(np.sum(np.cumsum(s) / s.sum() < share) + 1), {}


@reference("srank", by_hand)
def _(a):
    return reached(np.linalg.svd(a, compute_uv=False), 0.99)


@reference("approximate-rank", by_hand)
def _(a):
    return reached(np.linalg.svd(a, compute_uv=False) ** 2, 0.99)


@reference("feature-rank", by_hand)
def _(a):
    return np.float64(np.sum(np.linalg.svd(a, compute_uv=False) / np.sqrt(len(a)) > 0.01)), {}


# Activity, and two layers


@reference("dormant-dopamine", by_torch)
def _(a):
    score = a.abs().mean(dim=0)
    return score / (score.mean() + 1e-9)


def by_ratio(hsic, a, b):
    return hsic(a, b) / torch.sqrt(hsic(a, a) * hsic(b, b))


@reference("cka-debiased-ckatorch", by_torch)
def _(a, b):
    hsic1 = part("ckatorch", "hsic.py").hsic1
    return by_ratio(lambda x, y: hsic1((x @ x.T)[None], (y @ y.T)[None])[0], a, b)


@reference("cka-ckatorch", by_torch)
def _(a, b):
    hsic0 = part("ckatorch", "hsic.py").hsic0
    return by_ratio(lambda x, y: hsic0(x @ x.T, y @ y.T), a, b)
