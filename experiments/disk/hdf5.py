"""Opens HDF5 files, including netCDF4 files, and checks them before they are read, because anybody may have
made them."""

from typing import Any, NamedTuple

import h5py
import numpy as np

_NUMBERS_AND_TEXTS = "biufS"
"""Kinds of NumPy types that are accepted, besides texts of variable length."""


class Header(NamedTuple):
    """The header of a file: its attributes and variables."""

    attrs: dict[str, Any]
    variables: dict[str, h5py.Dataset]
    """Variables by name. Their values can be read while the file is open."""


class File(h5py.File):
    """An open file, without groups, that looks up each variable only once. h5netcdf asks for variables
    hundreds of times, by name or by path."""

    def __init__(self, *arguments: Any, **options: Any):
        super().__init__(*arguments, **options)
        self._found: dict[str, Any] = {}

    def __getitem__(self, name: Any) -> Any:
        if not isinstance(name, str):  # a reference to a variable
            return super().__getitem__(name)
        name = name.removeprefix("/")
        if not name:
            return self
        if name not in self._found:
            self._found[name] = super().__getitem__(name)
        return self._found[name]

    def __delitem__(self, name: str) -> None:
        self._found.pop(name.removeprefix("/"), None)
        super().__delitem__(name)


def check(file: h5py.File) -> Header:
    """Checks a file, and returns its header. Raises an error, which may be of any class, unless the file has
    this project's form: its root holds variables of numbers and texts, stored in the file itself."""
    _check_attributes(file)
    variables = {}
    for name in file:
        link = file.get(name, getlink=True)
        if not isinstance(link, h5py.HardLink) or not isinstance(variable := file[name], h5py.Dataset):
            raise ValueError(f"{name} is a group or a link, not a variable")
        if variable.external or variable.is_virtual:
            raise ValueError(f"{name} is in another file")
        if variable.dtype.kind not in _NUMBERS_AND_TEXTS and not _is_of_texts(variable.dtype):
            raise ValueError(f"{name} holds neither numbers nor texts")
        _check_attributes(variable)
        variables[name] = variable
    return Header(dict(file.attrs), variables)


def _check_attributes(of: h5py.File | h5py.Dataset) -> None:
    for name in of.attrs:
        attribute = of.attrs.get_id(name)
        text = _is_of_texts(attribute.dtype) and attribute.shape == ()
        if not (attribute.dtype.kind in _NUMBERS_AND_TEXTS or text or _ties_dimensions(name, attribute)):
            raise ValueError(f"its attribute {name} holds neither numbers nor a text")


def _ties_dimensions(name: str, attribute: h5py.h5a.AttrID) -> bool:
    """Returns whether this attribute holds the references by which netCDF4 links variables to dimensions."""
    if name == "DIMENSION_LIST":
        listed = h5py.check_vlen_dtype(attribute.dtype)
        return listed is not None and h5py.check_ref_dtype(listed) is h5py.Reference
    fields = [attribute.dtype[field] for field in attribute.dtype.names or ()]
    return name == "REFERENCE_LIST" and [*map(h5py.check_ref_dtype, fields)] == [h5py.Reference, None]


def _is_of_texts(dtype: np.dtype) -> bool:
    """Returns whether a type is text of variable length, which HDF5 stores apart from its variable or
    attribute."""
    text = h5py.check_string_dtype(dtype)
    return text is not None and text.length is None
