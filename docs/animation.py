"""Correlations between the units of a layer while networks learn: the animation of start.md.

    python docs/animation.py

trains the paper's largest network on the digits, without the penalty and with it, and draws animation.gif
beside this file. This takes half a minute on two cores.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib import colormaps
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from decorr import MLP, correlation_matrix, effective_units
from decorr.config import Regulariser
from decorr.training.objective import error_rate
from decorr.training.steps import Trainer, init, sgd, train_epochs
from experiments.data.load import load
from experiments.grid.networks import Recipe
from experiments.page.drawing import by_similarity, settings

WEIGHTS = (0.0, 0.002, 0.02)
EPOCHS = 40
MILLISECONDS, AT_THE_END = 200, 4000  # the duration of a frame, and of the last frame
PIXELS = 2  # width and height of the square for one correlation
COLOURS = 10  # number of colours for correlations: more colours make the file larger


class Moment(NamedTuple):
    """The last hidden layer of each network at one time, measured on the validation split."""

    correlation: jax.Array
    """Correlations [network, unit, unit]."""
    effective_units: jax.Array
    """Effective units [network]."""
    error: jax.Array
    """The share of images classified wrongly [network], in [0, 1]."""


def watch(epochs: int) -> Iterator[Moment]:
    """Yields a `Moment` before training and after each epoch. The networks differ only by their `WEIGHTS`."""
    digits, protocol = load(), Recipe()
    train_set, (x, labels) = jax.device_put((digits.train, digits.validation.batch(slice(None))))
    model = MLP(protocol.architecture("huge"), digits.classes)
    trainer = Trainer(model, sgd(protocol.optimisation), protocol.optimisation.batch_size)

    def start(weight):
        return init(trainer, jax.random.key(0), Regulariser(weight, None), x[:1])

    @jax.jit
    @jax.vmap
    def train(state):
        return train_epochs(trainer, state, train_set, 1)[0]

    @jax.jit
    @jax.vmap
    def look(state):
        logits, activations = model.apply(state.variables, x)
        last = activations[-1]
        return Moment(correlation_matrix(last), effective_units(last), error_rate(logits, labels))

    states = jax.vmap(start)(jnp.asarray(WEIGHTS))
    yield jax.device_get(look(states))
    for _ in range(epochs):
        states = train(states)
        yield jax.device_get(look(states))


@settings()
def frame(epoch: int, moment: Moment, orders: Sequence[np.ndarray]) -> Image.Image:
    """Draws the frame of an epoch. `orders` holds the order of units in each network's square."""
    units, dpi = len(orders[0]), 100
    side, gap, above, below = PIXELS * units, 30, 62, 42
    width, height = len(WEIGHTS) * (side + gap) + gap, above + side + below
    figure = Figure(figsize=(width / dpi, height / dpi), dpi=dpi)
    title = f"Epoch {epoch}: |rho| between the {units} units of a layer, from 0 (blue) to 1 (yellow)"
    figure.text(0.5, 1 - 20 / height, title, size=9, ha="center")
    colours = colormaps["cividis"].resampled(COLOURS)
    for i, (weight, order) in enumerate(zip(WEIGHTS, orders, strict=True)):
        left = gap + i * (side + gap)
        axes = figure.add_axes((left / width, below / height, side / width, side / height))
        axes.set_axis_off()
        axes.set_title(f"weight {weight:g}" if weight else "without the penalty", size=8)
        rho = np.abs(moment.correlation[i])[np.ix_(order, order)]
        axes.imshow(rho, vmin=0, vmax=1, cmap=colours, interpolation="nearest")
        found = f"worth {moment.effective_units[i]:.0f} units, error {moment.error[i]:.0%}"
        figure.text((left + side / 2) / width, 20 / height, found, size=8, ha="center")
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")


def draw(path: Path, epochs: int = EPOCHS) -> None:
    """Writes the GIF. Units that respond alike after the last epoch are drawn side by side in all frames."""
    moments = list(watch(epochs))
    orders = [by_similarity(rho) for rho in moments[-1].correlation]
    frames = [frame(epoch, moment, orders) for epoch, moment in enumerate(moments)]
    palette = frames[-1].quantize(COLOURS + 8)  # one palette for all frames, with greys for the letters
    first, *others = (each.quantize(palette=palette, dither=Image.Dither.NONE) for each in frames)
    durations = [MILLISECONDS] * epochs + [AT_THE_END]
    first.save(path, save_all=True, append_images=others, duration=durations, loop=0)


if __name__ == "__main__":
    draw(Path(__file__).with_name("animation.gif"))
