"""Files made to harm: refused before anything is unpacked, run, or read from elsewhere."""

import io
import zipfile
import zlib

import h5py
import numpy as np
import pytest

from experiments.disk import hdf5, npz


def member(shape, descr="<f4"):
    """An array's header, and nothing of the array."""
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"shape": shape, "fortran_order": False, "descr": descr})
    return file.getvalue()


NPZ = {
    "compressed": lambda file: np.savez_compressed(file, a=np.zeros(10**6)),
    "huge": lambda file: zipfile.ZipFile(file, "w").writestr("a.npy", member((2**60,))),
    "huge, of nothing": lambda file: zipfile.ZipFile(file, "w").writestr("a.npy", member((2**60,), "|V0")),
    "huge, by nothing": lambda file: zipfile.ZipFile(file, "w").writestr("a.npy", member((2**60, 0))),
    "no array": lambda file: zipfile.ZipFile(file, "w").writestr("a.npy", b"cos\nsystem\n"),
    "objects": lambda file: np.savez(file, a=np.array([{}], object)),
    "a pickle": lambda file: file.write(b"cbuiltins\nprint\n."),
}


@pytest.mark.filterwarnings("ignore::ResourceWarning")  # these zip files are closed with their files
@pytest.mark.parametrize("write", NPZ.values(), ids=NPZ.keys())
def test_an_npz_that_would_harm_is_refused(tmp_path, write):
    with (tmp_path / "a.npz").open("wb") as file:
        write(file)
    with pytest.raises((ValueError, MemoryError)):
        npz.read(tmp_path / "a.npz")


def test_members_of_an_npz_are_names_and_no_paths(tmp_path):
    (folder := tmp_path / "in").mkdir()
    with zipfile.ZipFile(folder / "a.npz", "w") as file:
        file.writestr("../outside.npy", member((0,)))
    assert list(npz.read(folder / "a.npz")) == ["../outside"]
    assert list(tmp_path.rglob("*")) == [folder, folder / "a.npz"]


def chunk(file, raw, dtype="f4", **kind):
    """A variable of ten entries in one chunk, whose bytes are the given ones."""
    file.create_dataset("a", (10,), dtype, chunks=(10,), **kind).id.write_direct_chunk((0,), raw)


def one_text_many_times(file):
    texts = file.create_dataset("a", (2000,), h5py.string_dtype(), chunks=(2000,))
    texts[0] = "x" * 2**20
    file.flush()
    _, references = texts.id.read_direct_chunk((0,))
    texts.id.write_direct_chunk((0,), references[:16] * 2000)


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
    "huge": (lambda file: file.create_dataset("a", (2**58,), "f4", chunks=(9,)), "unpacks to far more"),
    "huge chunks": (
        lambda file: file.create_dataset("a", (9,), "f4", chunks=(2**29,), maxshape=(2**30,)),
        "unpacks to far more",
    ),
    "huge, by nothing": (lambda file: file.create_dataset("a", (2**58, 0), "f4"), "unpacks to far more"),
    "one text many times": (one_text_many_times, "unpacks to far more"),
    "texts in an attribute": (
        lambda file: file.attrs.create("a", ["x", "y"], dtype=h5py.string_dtype()),
        "its attribute a is neither",
    ),
    "texts in a list of dimensions": (
        lambda file: file.attrs.create("DIMENSION_LIST", ["x", "y"], dtype=h5py.string_dtype()),
        "its attribute DIMENSION_LIST is neither",
    ),
    "a chunk that lies": (
        lambda file: chunk(file, zlib.compress(bytes(10**6)), compression="gzip"),
        "unpacks to more than it says",
    ),
    "another filter": (lambda file: chunk(file, b"x", compression="lzf"), "not compressed by zlib alone"),
    "references": (
        lambda file: file.create_dataset("a", (9,), h5py.ref_dtype),
        "a is neither of numbers nor of texts",
    ),
}


@pytest.mark.parametrize(("write", "words"), NETCDF.values(), ids=NETCDF.keys())
def test_a_netcdf_that_would_harm_is_refused(tmp_path, write, words):
    with h5py.File(tmp_path / "a.nc", "w") as file:
        write(file)
    with pytest.raises(ValueError, match=words):
        hdf5.check(tmp_path / "a.nc")


def test_a_netcdf_as_ours_is_not(tmp_path):
    with h5py.File(tmp_path / "a.nc", "w") as file:
        random = np.random.default_rng(0).integers(256, size=4000, dtype="u1")  # it grows
        file.create_dataset("random", data=random, compression="gzip", shuffle=True)
        file.create_dataset("zeros", data=np.zeros(10**6, "f4"), compression="gzip", shuffle=True)
        file.create_dataset("texts", data=["x", "y"])
        file.attrs["text"] = "x"
    hdf5.check(tmp_path / "a.nc")
