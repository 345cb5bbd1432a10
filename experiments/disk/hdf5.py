"""HDF5 files, of which netCDF4 ones are a kind, that anybody may have made: checked before they are read."""

import sys
import zlib
from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np

from experiments.disk.files import least_bytes

_BYTES, _RATIO = 2**30, 100
"""A file may unpack to so many bytes or, if that is more, so many times its size; ours do to ten times."""

_NUMBERS_AND_TEXTS = "biufS"
"""Kinds of types, beside that of texts of any length."""


def check(path: Path) -> None:
    """An error, of many kinds, unless a file is as this project writes them: variables in its root, which lie
    whole in the file and unpack to a size in proportion to it."""
    left = max(_BYTES, _RATIO * path.stat().st_size)
    with h5py.File(path) as file:
        for size in _sizes(file):
            left -= size
            if left < 0:
                raise ValueError("it unpacks to far more than it takes")


def _sizes(file: h5py.File) -> Iterator[int]:
    """Bytes of all that reading would bring to memory. Only texts are read, one at a time, for nothing else
    says how long they are: thousands of them may be one and the same part of the file."""
    yield from _sizes_of_attributes(file)
    for name in file:
        link = file.get(name, getlink=True)
        if not isinstance(link, h5py.HardLink) or not isinstance(variable := file[name], h5py.Dataset):
            raise ValueError(f"{name} is no variable, but a group or a link")
        if variable.external or variable.is_virtual:
            raise ValueError(f"{name} is in another file")
        yield from _sizes_of_attributes(variable)
        chunk = variable.chunks or variable.shape  # which may be larger than all of the variable
        itemsize = variable.dtype.itemsize
        yield least_bytes(map(max, variable.shape, chunk), itemsize)
        _check_compression(name, variable, least_bytes(chunk, itemsize))
        if _is_of_texts(variable.dtype):
            yield from (sys.getsizeof(variable[index]) for index in np.ndindex(variable.shape))
        elif variable.dtype.kind not in _NUMBERS_AND_TEXTS:
            raise ValueError(f"{name} is neither of numbers nor of texts")


def _sizes_of_attributes(of: h5py.File | h5py.Dataset) -> Iterator[int]:
    for name in of.attrs:
        attribute = of.attrs.get_id(name)
        yield attribute.get_storage_size()
        if _is_of_texts(attribute.dtype) and attribute.shape == ():
            yield sys.getsizeof(of.attrs[name])
        elif attribute.dtype.kind not in _NUMBERS_AND_TEXTS and not _ties_dimensions(name, attribute):
            raise ValueError(f"its attribute {name} is neither of numbers nor a text")


def _ties_dimensions(name: str, attribute: h5py.h5a.AttrID) -> bool:
    """Whether this is one of the attributes of references by which netCDF4 ties variables to dimensions."""
    if name == "DIMENSION_LIST":
        listed = h5py.check_vlen_dtype(attribute.dtype)
        return listed is not None and h5py.check_ref_dtype(listed) is h5py.Reference
    types = [attribute.dtype[field] for field in attribute.dtype.names or ()]
    return name == "REFERENCE_LIST" and [h5py.check_ref_dtype(each) for each in types] == [
        h5py.Reference,
        None,
    ]


def _is_of_texts(dtype: np.dtype) -> bool:
    """Whether these are of any length, and so not where the variable or attribute is."""
    text = h5py.check_string_dtype(dtype)
    return text is not None and text.length is None


def _check_compression(name: str, variable: h5py.Dataset, most: int) -> None:
    """HDF5 lets a chunk unpack to any size, and then takes what it needs: no more than `most` bytes here."""
    made = variable.id.get_create_plist()
    filters = [made.get_filter(i)[0] for i in range(made.get_nfilters())]
    deflate, shuffle = h5py.h5z.FILTER_DEFLATE, h5py.h5z.FILTER_SHUFFLE
    if filters not in ([], [shuffle], [deflate], [shuffle, deflate]):
        raise ValueError(f"{name} is not compressed by zlib alone")
    if deflate in filters:
        for i in range(variable.id.get_num_chunks()):
            _, packed = variable.id.read_direct_chunk(variable.id.get_chunk_info(i).chunk_offset)
            if len(zlib.decompressobj().decompress(packed, most + 1)) > most:
                raise ValueError(f"{name} unpacks to more than it says")
