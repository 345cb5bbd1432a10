"""Tables as arrays: ARFF files, OpenML's sets by name, and two tables that scikit-learn ships.

The class is an ARFF file's last column, or OpenML's target. A nominal column of k values becomes k columns of
0 and 1. A gap (a missing value) becomes NaN in a numeric column, and k zeros in a nominal column.
"""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from experiments.data.pool import Pool
from experiments.disk.errors import first_line

MOST_CLASSES, ROWS_OF_A_CLASS = 100, 10
"""A column of whole numbers can be the class if it has at most `MOST_CLASSES` values, with `ROWS_OF_A_CLASS`
rows or more for each on average. Otherwise the numbers are measurements, such as prices."""

EMBEDDED = ("breast_cancer", "wine")
"""Tables that scikit-learn ships."""


def embedded(name: str) -> Pool:
    """Returns one of `EMBEDDED`, from the UCI repository (Street, 1993; Forina et al., 1988)."""
    from sklearn import datasets

    found = getattr(datasets, f"load_{name}")()
    return _table(name, [*map(_column, found.data.T)], _column(found.target), name)


def read_arff(path: Path) -> Pool:
    """Returns the table in an ARFF file, named after the file.

    Raises:
      FileNotFoundError: there is no such file.
      ValueError: the file is not in ARFF format; or a column holds text or dates; or the last column is not
        nominal, has gaps, or has fewer than two classes.
    """
    import arff

    # Latin-1 reads any byte. Wrong letters do no harm, because names of values are only compared.
    with path.open(encoding="latin-1") as file:
        try:
            content = arff.load(file)
        except (arff.ArffException, ValueError, StopIteration) as error:
            raise ValueError(f"{path}: not a readable ARFF file: {error or type(error).__name__}") from error
    names, kinds = zip(*content["attributes"], strict=True)
    if "STRING" in kinds:
        name = names[kinds.index("STRING")]
        raise ValueError(f"{path}: column {name} holds text: only numeric and nominal columns can be used")
    if isinstance(kinds[-1], str):
        raise ValueError(
            f"{path}: the last column must be the class, and nominal; {names[-1]} is not nominal"
        )
    if not content["data"]:
        raise ValueError(f"{path}: the table has no rows")
    values = zip(*content["data"], strict=True)
    columns = [
        _column(np.array(column, float if isinstance(kind, str) else object))
        for column, kind in zip(values, kinds, strict=True)
    ]
    return _table(path.stem, columns[:-1], columns[-1], str(path))


def openml(name: str, data_home: Path | None = None) -> Pool:
    """Returns a data set of openml.org by its name or number. scikit-learn downloads it once.

    Args:
      name: a name such as "credit-g", which gives the newest active version; or a number such as "31".
      data_home: scikit-learn's folder of downloads. None means scikit-learn's default, $SCIKIT_LEARN_DATA or
        ~/scikit_learn_data.

    Raises:
      ValueError: OpenML has no such set or cannot be reached; or the set is not a classification table of
        numbers and categories; or its target holds measurements instead of classes.
    """
    from sklearn.datasets import fetch_openml

    identity = {"data_id": int(name)} if name.isdecimal() else {"name": name, "version": "active"}
    try:
        found = fetch_openml(**identity, data_home=data_home, as_frame=True, parser="liac-arff")
    except Exception as error:
        raise ValueError(f"OpenML's {name!r} cannot be loaded: {first_line(error)}") from error
    if found.target is None or getattr(found.target, "ndim", 1) != 1:
        raise ValueError(f"OpenML's {name!r} has no single target column to classify by")
    for column, kind in found.data.dtypes.items():
        if kind.name != "category" and kind.kind not in "fiub":
            raise ValueError(
                f"OpenML's {name!r}: column {column} holds text: only numbers and categories can be used"
            )
    _check_class(found.target, f"OpenML's {name!r}")
    columns = [_column(found.data[column].to_numpy()) for column in found.data.columns]
    return _table(f"openml-{name}", columns, _column(found.target.to_numpy()), f"OpenML's {name!r}")


def _check_class(target: Any, where: str) -> None:
    """Raises ValueError if a pandas column holds measurements instead of classes. Errors begin with
    `where`."""
    if target.dtype.name == "category" or target.dtype.kind not in "iuf":
        return
    numbers = target.dropna()
    fractions, different = numbers[numbers % 1 != 0], numbers.nunique()
    if len(fractions):
        wrong = f"numbers such as {fractions.iloc[0]:g}"
    elif different > MOST_CLASSES or different * ROWS_OF_A_CLASS > len(numbers):
        wrong = f"{different} different whole numbers in {len(numbers)} rows"
    else:
        return
    raise ValueError(
        f"{where}: the target {target.name} holds {wrong}; a class must be nominal, text, or whole numbers: "
        f"at most {MOST_CLASSES}, with {ROWS_OF_A_CLASS} rows or more each on average"
    )


def _column(values: np.ndarray) -> np.ndarray:
    """Returns a column as float64 with NaN for gaps, or as text with '' for gaps."""
    if values.dtype.kind in "fiub":
        return values.astype(np.float64)
    texts = [value.decode("latin-1") if isinstance(value, bytes) else value for value in values]
    return np.array(["" if text is None or text != text or text == "?" else str(text) for text in texts])


def _table(name: str, columns: Sequence[np.ndarray], classes: np.ndarray, where: str) -> Pool:
    """Makes a table from columns that `_column` returned. Errors begin with `where`."""
    gaps = np.isnan(classes) if classes.dtype.kind == "f" else classes == ""
    if gaps.any():
        raise ValueError(f"{where}: {gaps.sum()} rows have no class")
    names, labels = np.unique(classes, return_inverse=True)
    if len(names) < 2:
        raise ValueError(f"{where}: a classification table needs at least 2 classes; it has {len(names)}")
    if not columns:
        raise ValueError(f"{where}: the table has no column beside the class")
    encoded = [column[:, None] if column.dtype.kind == "f" else _one_hot(column) for column in columns]
    features = np.concatenate(encoded, axis=1).astype(np.float32)
    if np.isinf(features).any():
        raise ValueError(f"{where}: the table holds infinite numbers")
    digest = hashlib.sha256(features.tobytes() + labels.astype(np.int32).tobytes()).hexdigest()[:16]
    return Pool(name, digest, len(names), None, features, labels.astype(np.int32))


def _one_hot(column: np.ndarray) -> np.ndarray:
    """Returns 0s and 1s [row, value], with a column for each value that occurs. A row with a gap is all 0."""
    values = np.unique(column[column != ""])
    return (column[:, None] == values[None]).astype(np.float64)
