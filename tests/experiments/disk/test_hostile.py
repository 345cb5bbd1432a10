"""Hostile files are refused before they run code, open other files, or fill the memory."""

import io
import zipfile

import h5py
import numpy as np
import pytest
import xarray as xr

from experiments.disk import netcdf, npz
from experiments.disk.errors import ResultsError


def member(shape, descr="<f4"):
    """Returns the header of an array, without the array's content."""
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"shape": shape, "fortran_order": False, "descr": descr})
    return file.getvalue()


NPZ = {
    "compressed": lambda file: np.savez_compressed(file, a=np.zeros(10**6)),
    "huge, of nothing": lambda file: zipfile.ZipFile(file, "w").writestr("a.npy", member((2**60,), "|V0")),
    "huge, by nothing": lambda file: zipfile.ZipFile(file, "w").writestr("a.npy", member((2**60, 0))),
    "no array": lambda file: zipfile.ZipFile(file, "w").writestr("a.npy", b"cos\nsystem\n"),
    "objects": lambda file: np.savez(file, a=np.array([{}], object)),
    "a pickle": lambda file: file.write(b"cbuiltins\nprint\n."),
}


@pytest.mark.filterwarnings("ignore::ResourceWarning")  # the zip files are closed only with their files
@pytest.mark.parametrize("write", NPZ.values(), ids=NPZ.keys())
def test_an_npz_that_would_harm_is_refused(tmp_path, write):
    with (tmp_path / "a.npz").open("wb") as file:
        write(file)
    before_unpacking = "more bytes than the file" if write is NPZ["compressed"] else None
    with pytest.raises(ValueError, match=before_unpacking):
        npz.read(tmp_path / "a.npz")


def test_members_of_an_npz_are_names_and_no_paths(tmp_path):
    (folder := tmp_path / "in").mkdir()
    with zipfile.ZipFile(folder / "a.npz", "w") as file:
        file.writestr("../outside.npy", member((0,)))
    assert list(npz.read(folder / "a.npz")) == ["../outside"]
    assert list(tmp_path.rglob("*")) == [folder, folder / "a.npz"]


def virtual(file):
    layout = h5py.VirtualLayout((3,), "i8")
    layout[:] = h5py.VirtualSource("other.nc", "a", (3,))
    file.create_virtual_dataset("a", layout)


NETCDF = {
    "a file's bytes": (
        lambda file: file.create_dataset("a", (9,), "S1", external=[("/etc/passwd", 0, 9)]),
        "a is in another file",
    ),
    "another's variable": (lambda file: virtual(file), "a is in another file"),
    "another file": (lambda file: file.__setitem__("a", h5py.ExternalLink("other.nc", "/a")), "a link"),
    "a loop of links": (lambda file: file.__setitem__("a", h5py.SoftLink("/a")), "a link"),
    "a loop of groups": (lambda file: file.create_group("g").__setitem__("up", file["/"]), "a group"),
    "texts in an attribute": (
        lambda file: file.attrs.create("a", ["x", "y"], dtype=h5py.string_dtype()),
        "its attribute a holds neither",
    ),
    "texts in a list of dimensions": (
        lambda file: file.attrs.create("DIMENSION_LIST", ["x", "y"], dtype=h5py.string_dtype()),
        "its attribute DIMENSION_LIST holds neither",
    ),
    "references": (
        lambda file: file.create_dataset("a", (9,), h5py.ref_dtype),
        "a holds neither numbers nor texts",
    ),
}


@pytest.mark.parametrize(("write", "words"), NETCDF.values(), ids=NETCDF.keys())
def test_a_netcdf_that_would_harm_is_refused(tmp_path, write, words):
    with h5py.File(tmp_path / "a.nc", "w") as file:
        write(file)
    with pytest.raises(ResultsError, match=words), netcdf.header(tmp_path / "a.nc"):
        pass


def test_a_netcdf_as_ours_is_not(tmp_path):
    ours = xr.Dataset({"texts": ("x", ["x", "longer"]), "zeros": ("x", np.zeros(2))}, attrs={"text": "x"})
    netcdf.write(tmp_path / "a.nc", ours, packed={})
    with netcdf.read(tmp_path / "a.nc") as read:
        assert read.identical(ours)
