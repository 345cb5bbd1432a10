"""Pages are drawn without PNGs, which are half of the time: tests/experiments/page has one."""

import pytest

from experiments.page import drawing


@pytest.fixture(autouse=True, scope="module")
def no_png():
    whole = drawing._file
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(drawing, "_file", lambda figure, kind: whole(figure, kind) if kind == "svg" else b"")
        yield
