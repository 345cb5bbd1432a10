"""A sweep as one small file: exact errors, other values rounded, and cells added later."""

import h5py
import numpy as np
import pytest

from experiments.disk.errors import ResultsError
from experiments.paper.report import REFERENCE
from experiments.store import compact, finished, open_sweep
from experiments.store.gathered import concatenate, configuration, error, split
from tests import made_up


def test_a_compact_file_is_what_was_saved(tmp_path):
    sweep = made_up.sweep()
    compact.save(sweep, tmp_path / "sweep.nc")
    loaded = compact.load(tmp_path / "sweep.nc")
    for name in finished.VARIABLES:
        np.testing.assert_allclose(loaded[name], sweep[name], rtol=1e-7, err_msg=name)
    np.testing.assert_allclose(loaded.correlation, sweep.correlation, atol=5e-5)
    assert loaded.configuration.values.tolist() == sweep.configuration.values.tolist()
    assert configuration(loaded)["size"] == "tiny"


def test_variables_of_a_committed_file_have_names_and_units():
    sweep = open_sweep(str(REFERENCE / "mnist-paper.nc"))
    for name in (*finished.VARIABLES, "seconds"):
        assert sweep[name].attrs.keys() >= {"long_name", "units"}, name
    assert error(sweep).attrs == {"long_name": "error of the validation set", "units": "1"}
    assert sweep.cell.attrs["long_name"] == "network"


def test_a_compact_file_has_exact_errors_and_four_digits_of_the_rest(tmp_path):
    values = np.array([1.2345678, -7.7e-5, 3e30, np.nan, np.inf, 0, 0.9999999, 1e-9, 2, 3], np.float32)
    values[-2:] = np.array([0x7FFFFFFF, 0xFFFFFFFF], np.uint32).view(np.float32)  # GPUs' NaNs
    sweep = made_up.sweep(sizes=("tiny",), variants=("drop",))
    for name in ("train_nll", "validation_error"):
        sweep[name] = sweep[name].astype(np.float32)
        sweep[name].loc[{"epoch": 1}] = values[None]
    compact.save(sweep, tmp_path / "sweep.nc")
    loaded = compact.load(tmp_path / "sweep.nc").sel(cell="tiny-drop", epoch=1)
    np.testing.assert_array_equal(loaded.validation_error, values)
    np.testing.assert_allclose(loaded.train_nll, values, rtol=2**-13)
    assert (loaded.train_nll.values != values).sum() >= 4


def test_errors_of_a_compact_file_are_counts_of_images(tmp_path):
    sweep = made_up.sweep(sizes=("tiny",), variants=("drop",))
    shares = np.random.default_rng(0).integers(0, 251, sweep.validation_error.shape) / 250
    sweep["validation_error"] = sweep.validation_error.copy(data=shares.astype(np.float32))
    compact.save(sweep, path := tmp_path / "sweep.nc")
    np.testing.assert_array_equal(compact.load(path).validation_error, shares)
    compact.save(compact.load(path), path)
    np.testing.assert_array_equal(compact.load(path).validation_error, shares)


def test_a_compact_file_is_little_more_than_its_arrays(tmp_path):
    path = tmp_path / "sweep.nc"
    compact.save(made_up.sweep(), path)
    with h5py.File(path) as file:
        arrays = [array.id.get_storage_size() for array in file.values()]
    assert path.stat().st_size < sum(arrays) + 2_000 * len(arrays)


@pytest.mark.slow
def test_a_compact_file_takes_cells_of_longer_names(tmp_path):
    path = tmp_path / "sweep.nc"
    compact.save(made_up.sweep(sizes=("tiny",), variants=("drop",)), path)
    added = made_up.sweep(sizes=("medium",), variants=("corr-0.1",))
    compact.save(concatenate(split(compact.load(path)) + split(added)), path)
    loaded = compact.load(path)
    assert loaded.cell.values.tolist() == ["tiny-drop", "medium-corr-0.1"]
    assert loaded.variant.values.tolist() == ["drop", "corr-0.1"]
    assert loaded.configuration.values[1] == added.configuration.values[0]


def test_cells_of_other_data_are_not_put_together():
    first, second = split(made_up.sweep(sizes=("tiny",), variants=("vanilla", "drop")))
    other = second.assign(dataset_version="1998 sha256:4567")
    concatenate([first.assign(dataset_version="1998"), other])  # like older results, without a hash
    with pytest.raises(ResultsError, match=r"was trained on other data than .*sha256:"):
        concatenate([first.assign(dataset_version="1998 sha256:0123"), other])


def test_names_that_were_typed_otherwise_are_read_as_what_they_mean(tmp_path):
    sweep = made_up.sweep(sizes=("tiny",), variants=("corr-3.0",))
    as_typed = sweep.assign_coords(cell=["tiny-corr-3"], variant=("cell", ["corr-3"]))
    as_typed["configuration"] = as_typed.configuration.str.replace("corr-3.0", "corr-3")
    compact.save(as_typed, tmp_path / "sweep.nc")
    loaded = compact.load(tmp_path / "sweep.nc")
    assert loaded.cell.values.tolist() == ["tiny-corr-3.0"] and loaded.variant.values.tolist() == ["corr-3.0"]
