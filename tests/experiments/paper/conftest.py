"""Draws pages without PNGs, and only few of their figures."""

import pytest
from matplotlib.figure import Figure

from experiments.page import drawing

DRAWN = ("figure4", "heat_maps", "C7")


@pytest.fixture(autouse=True, scope="module")
def few_are_drawn(no_png):
    """Makes all figures, but draws empty ones except for `DRAWN`. This takes a third of the time."""
    whole = drawing.picture

    def picture(folder, name, title, draw):
        return whole(folder, name, title, draw if name in DRAWN else lambda: draw() and Figure())

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(drawing, "picture", picture)
        yield
