"""What every test runs under: two devices or $CPU_DEVICES, float64 at hand, no silent promotion."""

import os

import jax
import pytest

jax.config.update("jax_num_cpu_devices", int(os.environ.get("CPU_DEVICES", "2")))
jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_numpy_dtype_promotion", "strict")


def pytest_runtest_setup(item):
    folder = os.environ.get("TFDS_DATA_DIR")
    sets = [os.path.join(folder or "", name) for name in ("mnist", "fashion_mnist")]
    if item.get_closest_marker("real_data") and not (folder and all(map(os.path.isdir, sets))):
        pytest.skip("TFDS_DATA_DIR names no folder with mnist and fashion_mnist")


@pytest.fixture
def float64():
    """For tests that compare with a float64 oracle."""
    with jax.enable_x64(True):
        yield


if "DECORR_INSTALLED" in os.environ:  # `make oldest` and `make pythons` test the wheel
    import decorr

    assert "site-packages" in decorr.__file__, decorr.__file__
