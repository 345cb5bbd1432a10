"""Training as a PyTorch user would write it: a loop over minibatches, or an ensemble by torch.func."""

from typing import Any

import numpy as np
import torch
from torch import nn
from torch.func import functional_call, grad, vmap
from torch.nn import functional as F

from experiments.benchmark import task
from experiments.benchmark.workers import Work
from experiments.grid.networks import Family, Size, Variant
from experiments.grid.protocols import RELEASED

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


class Network(nn.Module):
    """The paper's network; returns logits and activations."""

    def __init__(self, family: Family, size: Size, dropout_rate: float | None) -> None:
        super().__init__()
        *hidden, (_, features, classes) = task.layers(family, size)
        self.image = (1, task.SIDE, task.SIDE) if family == "conv" else (task.SIDE**2,)
        self.hidden = nn.ModuleList(
            nn.Conv2d(i // 9, o, 3, stride=2, padding=1) if family == "conv" else nn.Linear(i, o)
            for _, i, o in hidden
        )
        self.slopes = nn.ModuleList(nn.PReLU() for _ in hidden)
        self.logits = nn.Linear(features, classes)
        self.dropout = nn.Dropout(dropout_rate) if dropout_rate else nn.Identity()

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, list[torch.Tensor]]:
        activations = []
        x = self.dropout(x).unflatten(1, self.image)
        for affine, slope in zip(self.hidden, self.slopes, strict=True):
            x = slope(affine(x))
            activations.append(x.movedim(1, -1).flatten(0, -2))  # positions count as samples
            x = self.dropout(x)
        return self.logits(x.flatten(1)), activations


def plain_penalty(a: torch.Tensor) -> torch.Tensor:
    """Computes P as the paper writes it, from the d x d correlation matrix."""
    m, d = a.shape
    z = (a - a.mean(0)) / a.std(0)
    return ((z.T @ z / (m - 1)) ** 2).sum() / (2 * d)


def gram_penalty(a: torch.Tensor) -> torch.Tensor:
    """Computes P as an expert would write it, from the m x m Gram matrix if that is smaller."""
    m, d = a.shape
    z = (a - a.mean(0)) / a.std(0)
    smaller = z.T @ z if d <= m else z @ z.T
    return ((smaller / (m - 1)) ** 2).sum() / (2 * d)


def loop(path: str, family: Family, size: Size, variant: str, compile: bool) -> Work:
    """Trains one network, minibatch by minibatch, with `plain_penalty`."""
    data, network, regulariser = _prepare(path, family, size, variant)
    network.load_state_dict({name: values[0] for name, values in _parameters(data).items()})
    images, labels = _on_device(data.images), _on_device(data.labels).long()
    order = _on_device(data.order[0])
    optimisation = RELEASED.optimisation
    optimiser = torch.optim.SGD(
        network.parameters(),
        lr=optimisation.learning_rate,
        momentum=optimisation.momentum,
        weight_decay=optimisation.weight_decay,
    )

    def losses(x, y):
        logits, activations = network(x)
        nll = loss = F.cross_entropy(logits, y)
        if regulariser.penalty_weight is not None:
            loss = nll + regulariser.penalty_weight * sum(plain_penalty(a) for a in activations)
        return loss, nll.detach()

    if compile:
        losses = torch.compile(losses)

    def train(order):
        total = torch.zeros((), device=DEVICE)
        for index in order:
            optimiser.zero_grad()
            loss, nll = losses(images[index], labels[index])
            loss.backward()
            optimiser.step()
            total += nll
        return [float(total) / len(order)]

    return lambda: train(order), {"nll": train(order), "steps": len(order)}


def ensemble(path: str, family: Family, size: Size, variant: str, compile: bool, networks: int) -> Work:
    """Trains several networks at once. Their parameters are stacked, and the penalty is `gram_penalty`."""
    data, network, regulariser = _prepare(path, family, size, variant)
    params = {name: values[:networks].clone() for name, values in _parameters(data).items()}
    images, labels = _on_device(data.images), _on_device(data.labels).long()
    order = _on_device(data.order[:networks].swapaxes(0, 1))
    optimisation = RELEASED.optimisation
    assert not optimisation.momentum

    def losses(params, x, y):
        logits, activations = functional_call(network, params, (x,))
        nll = loss = F.cross_entropy(logits, y)
        if regulariser.penalty_weight is not None:
            loss = nll + regulariser.penalty_weight * sum(gram_penalty(a) for a in activations)
        return loss, nll

    gradients = vmap(grad(losses, has_aux=True), randomness="different")

    def step(params, index):
        gradient, nll = gradients(params, images[index], labels[index])
        for name, value in params.items():
            value -= optimisation.learning_rate * (gradient[name] + optimisation.weight_decay * value)
        return nll

    if compile:
        step = torch.compile(step)

    def train(order):
        total = torch.zeros(networks, device=DEVICE)
        with torch.no_grad():
            for index in order:
                total += step(params, index)
        return (total / len(order)).tolist()

    timed = order[: max(25, 400 // networks)]  # a whole epoch would take up to half a minute
    return lambda: train(timed), {"nll": train(order), "steps": networks * len(timed)}


def _prepare(path: str, family: Family, size: Size, variant: str) -> tuple[task.Task, Network, Any]:
    torch.manual_seed(0)
    data, regulariser = task.read(path), Variant.parse(variant).regulariser(RELEASED)
    network = Network(family, size, regulariser.dropout_rate)
    return data, network.to(DEVICE), regulariser


def _on_device(array: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(array)).to(DEVICE)


def _parameters(data: task.Task) -> dict[str, torch.Tensor]:
    """Returns the initial parameters [network, ...], with PyTorch's names and layouts."""
    named = {}
    channels = data.params["hidden_3.bias"].shape[1]
    for name, value in data.params.items():
        layer, _, kind = name.partition(".")
        layer, _, number = layer.partition("_")
        place = f"{layer}.{int(number) - 1}" if number else layer
        if layer == "slope":
            named[f"slopes.{int(number) - 1}.weight"] = _on_device(value[:, None])
        elif kind == "kernel" and value.ndim == 5:  # of a convolution
            named[f"{place}.weight"] = _on_device(value.transpose(0, 4, 3, 1, 2))
        elif kind == "kernel":
            if layer == "logits":  # PyTorch's maps have channels first
                maps = value.reshape(len(value), -1, channels, task.CLASSES)
                value = maps.swapaxes(1, 2).reshape(value.shape)
            named[f"{place}.weight"] = _on_device(value.swapaxes(1, 2))
        else:
            named[f"{place}.bias"] = _on_device(value)
    return named
