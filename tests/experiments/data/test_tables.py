import gzip
import hashlib
import json
from unittest import mock

import numpy as np
import pandas
import pytest

from experiments.data import tables
from experiments.data.load import load_pool

ARFF = """@relation pets
@attribute weight numeric
@attribute colour {black, 'light brown'}
@attribute kind {cat, dog}
@data
4.5,black,cat
?,'light brown',dog
30,?,dog
"""


@pytest.fixture
def written(tmp_path):
    def write(text):
        path = tmp_path / "pets.arff"
        path.write_text(text)
        return path

    return write


def test_numbers_stay_and_categories_become_columns(written):
    table = tables.read_arff(written(ARFF))
    assert table.name == "pets" and table.classes == 2 and table.labels.tolist() == [0, 1, 1]
    assert np.array_equal(
        table.features, np.float32([[4.5, 1, 0], [np.nan, 0, 1], [30, 0, 0]]), equal_nan=True
    )
    assert tables.read_arff(written(ARFF.replace("{cat, dog}", "{cat, dog, '?'}"))).classes == 2


def test_the_version_is_that_of_the_rows(written):
    version = tables.read_arff(written(ARFF)).identity
    assert tables.read_arff(written(ARFF.replace("@data", "% a comment\n@data"))).identity == version
    assert tables.read_arff(written(ARFF.replace("4.5", "4.6"))).identity != version


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("4.5,black,cat\n", "", "at least 2 classes; it has 1"),
        ("30,?,dog", "30,?,?", "1 rows have no class"),
        ("weight numeric", "weight string", "holds text"),
        ("weight numeric", "weight date 'yyyy'", "pets.arff: "),
        ("@relation pets", "no header", "not a readable ARFF file"),
        ("4.5,black,cat", "4.5,green,cat", "not a readable ARFF file"),
    ],
)
def test_a_table_that_cannot_be_used_is_one_line(written, old, new, message):
    path = written(ARFF.replace(old, new))
    with pytest.raises(ValueError, match=message) as raised:
        tables.read_arff(path)
    assert str(path) in str(raised.value) and "\n" not in str(raised.value)


def test_the_class_must_be_nominal(written):
    with pytest.raises(ValueError, match="last column must be the class, and nominal; y is not"):
        tables.read_arff(written("@relation a\n@attribute x numeric\n@attribute y numeric\n@data\n1,2\n"))


def test_a_file_that_is_not_there_says_so(tmp_path):
    with pytest.raises(FileNotFoundError):
        tables.read_arff(tmp_path / "none.arff")


def download(base):
    """Fills scikit-learn's folder of downloads like fetch_openml does."""
    answers = {
        "api/v1/json/data/7": {
            "data_set_description": {
                "id": "7",
                "name": "pets",
                "description": "",
                "version": "1",
                "format": "ARFF",
                "status": "active",
                "file_id": "9",
                "default_target_attribute": "kind",
                "md5_checksum": hashlib.md5(ARFF.encode()).hexdigest(),
                "url": "https://www.openml.org/data/v1/download/9/pets.arff",
            }
        },
        "api/v1/json/data/features/7": {"data_features": {"feature": FEATURES}},
        "api/v1/json/data/qualities/7": {
            "data_qualities": {"quality": [{"name": "NumberOfInstances", "value": "3.0"}]}
        },
    }
    files = {name: json.dumps(answer) for name, answer in answers.items()}
    for name, text in (files | {"data/v1/download/9/pets.arff": ARFF}).items():
        (path := base / f"{name}.gz").parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(gzip.compress(text.encode()))


FEATURES = [
    {
        "index": str(i),
        "name": name,
        "data_type": kind,
        "is_target": str(name == "kind").lower(),
        "is_ignore": "false",
        "is_row_identifier": "false",
        "number_of_missing_values": str(int(name != "kind")),
    }
    for i, (name, kind) in enumerate([("weight", "numeric"), ("colour", "nominal"), ("kind", "nominal")])
]


def test_openmls_tables_come_from_its_downloads(tmp_path):
    download(tmp_path / "openml" / "openml.org")
    table = tables.openml("7", tmp_path)
    assert table.name == "openml-7" and table.labels.tolist() == [0, 1, 1]
    assert np.array_equal(
        table.features, np.float32([[4.5, 1, 0], [np.nan, 0, 1], [30, 0, 0]]), equal_nan=True
    )


def test_what_openml_cannot_give_is_one_line(tmp_path):
    with pytest.raises(ValueError, match="OpenML's 'no such set' cannot be loaded") as raised:
        tables.openml("no such set", tmp_path)
    assert "\n" not in str(raised.value)


def test_an_error_without_words_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr("sklearn.datasets.fetch_openml", mock.Mock(side_effect=TimeoutError()))
    with pytest.raises(ValueError, match=r"OpenML's '7' cannot be loaded: TimeoutError$"):
        tables.openml("7", tmp_path)


def with_target(monkeypatch, target):
    """Loads an OpenML table with this target, without a download."""
    target = pandas.Series(target, name="y")
    bunch = mock.Mock(data=pandas.DataFrame({"x": np.arange(len(target), dtype=float)}), target=target)
    monkeypatch.setattr("sklearn.datasets.fetch_openml", lambda **_: bunch)
    return tables.openml("houses")


RULE = r"a class must be nominal, text, or whole numbers: at most 100, with 10 rows or more each on average$"


@pytest.mark.parametrize(
    ("target", "found"),
    [
        (np.arange(1000) % 600 + 0.5, "target y holds numbers such as 0.5"),
        (np.repeat([0.5, 1.5, 2.5], 100), "target y holds numbers such as 0.5"),
        (np.array([1.0, np.nan, 2.25] * 50), r"target y holds numbers such as 2\.25"),
        (np.array([1.0, np.inf, 2.0] * 50), "target y holds numbers such as inf"),
        (np.arange(300) * 7, "target y holds 300 different whole numbers in 300 rows"),
        (np.arange(5000.0) % 101, "target y holds 101 different whole numbers in 5000 rows"),
        (np.arange(450) % 50, "target y holds 50 different whole numbers in 450 rows"),
    ],
)
def test_measured_numbers_are_no_classes(monkeypatch, target, found):
    with pytest.raises(ValueError, match=rf"^OpenML's 'houses': the {found}; {RULE}"):
        with_target(monkeypatch, target)


@pytest.mark.parametrize(
    ("target", "classes"),
    [
        (np.arange(520) % 26, 26),
        (np.arange(520.0) % 26 + 1, 26),
        (np.array([-1, 1] * 10), 2),
        (np.arange(40, dtype=np.uint8) % 4, 4),
        (np.array([True, False] * 10), 2),
        (np.array(["cat", "dog"] * 10, object), 2),
        (pandas.Categorical([1.5, 2.5] * 10), 2),
        (pandas.Categorical(np.arange(300) % 150), 150),
    ],
)
def test_categories_text_and_whole_numbers_are_classes(monkeypatch, target, classes):
    assert with_target(monkeypatch, target).classes == classes


def test_samples_are_a_seeds_own_and_share_no_row():
    pool = load_pool("breast_cancer")
    rows = pool.rows(1000)
    assert rows == len(pool.labels) * 4 // 5
    sample, other = pool.sample(rows, 0), pool.sample(rows, 1)
    parts = np.concatenate(sample)
    assert sorted(parts.tolist()) == list(range(len(pool.labels)))
    assert len(sample.tuning) == rows // 5 and len(sample.test) == len(pool.labels) - rows
    assert all(np.array_equal(x, y) for x, y in zip(sample, pool.sample(rows, 0), strict=True))
    assert not np.array_equal(sample.train, other.train)


def test_the_digits_are_one_pool():
    pool = load_pool("digits")
    assert pool.features.shape == (1797, 64) and pool.image_shape == (8, 8, 1) and pool.test == 0
