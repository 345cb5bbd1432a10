"""Reads and writes netCDF4 files of results."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from experiments.disk.errors import ResultsError, unreadable
from experiments.disk.files import write_atomically

if TYPE_CHECKING:
    import h5py
    import xarray as xr  # imported inside functions, so that training alone does not wait for xarray

    from experiments.disk.hdf5 import Header

_PACKED = {"zlib": True, "complevel": 9, "shuffle": True}


@contextmanager
def read(path: Path) -> "Iterator[xr.Dataset]":
    """Opens a file of results lazily. Every error within the context becomes a ResultsError, because the
    file may be the cause. So code that relies on the file's content belongs within the context."""
    import h5netcdf
    import xarray as xr
    from xarray.backends import H5NetCDFStore

    with (
        _checked(path) as (file, _),
        h5netcdf.File(file) as netcdf,
        xr.open_dataset(H5NetCDFStore(netcdf, autoclose=False)) as dataset,
    ):
        yield dataset


@contextmanager
def header(path: Path) -> "Iterator[Header]":
    """Reads only the header of a file, in a quarter of the time that `read` takes. Raises the same errors as
    `read`."""
    with _checked(path) as (_, header):
        yield header


@contextmanager
def _checked(path: Path) -> "Iterator[tuple[h5py.File, Header]]":
    from experiments.disk import hdf5

    try:
        with hdf5.File(path, "r") as file:
            yield file, hdf5.check(file)
    except ResultsError:
        raise
    except Exception as error:  # a file of another format or layout may raise any class of error
        raise unreadable(path, error, "netCDF4 file") from error


def check_dimensions(dataset: "xr.Dataset", wanted: Mapping[str, tuple[str, ...]], *leading: str) -> None:
    """Raises ValueError unless variables hold numbers and have the dimensions (*leading, *wanted[name])."""
    for name, dimensions in wanted.items():
        if dataset[name].dims != (*leading, *dimensions) or dataset[name].dtype.kind not in "biuf":
            raise ValueError(f"{name} is {dataset[name].dtype} [{', '.join(map(str, dataset[name].dims))}]")


def write(path: Path, dataset: "xr.Dataset", packed: Mapping[str, Mapping[str, Any]] | None = None) -> None:
    """Writes a dataset completely or not at all.

    Args:
      path: the file.
      dataset: the file's content.
      packed: maps variables to xarray encodings. With None, nothing is compressed. Otherwise all arrays of
        numbers are compressed, including those without an encoding.
    """
    import h5netcdf
    from xarray.backends import H5NetCDFStore

    from experiments.disk import hdf5

    encoding = {}
    if packed is not None:
        for name, array in dataset.data_vars.items():
            if array.dtype.kind in "biuf" and array.ndim and array.size:
                encoding[name] = _PACKED | {"chunksizes": array.shape} | dict(packed.get(str(name), {}))

    def write_to(file: Any) -> None:
        # In the format of HDF5 1.10, an array of one chunk has no index; by default it has an index of 2 kB.
        with (
            hdf5.File(file, "w", libver=("v110", "v110"), track_order=True) as opened,
            h5netcdf.File(opened, "w") as written,
        ):
            dataset.dump_to_store(H5NetCDFStore(written, autoclose=False), encoding=encoding)

    write_atomically(path, write_to)
