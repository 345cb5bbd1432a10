"""The command trains each network once, resumes where it stopped, and explains errors in one line."""

import contextlib
import dataclasses
import re
import shutil
from pathlib import Path

import pytest
from rich.console import Console

from experiments import compare as command
from experiments.compare import Compare
from experiments.comparison import page, results, timing
from experiments.comparison.settings import Setting
from experiments.data import load
from experiments.data.load import load_pool
from experiments.disk.errors import ResultsError
from experiments.run import executor

SMALL = Compare(
    datasets=("wine",), methods=("vanilla",), steps=5, points=2, finalists=1, more_seeds=1, report_seeds=2
)


@pytest.fixture
def trained(monkeypatch):
    """The trained work, in order: its name, and how many networks were read from disk. Draws no page."""
    begun = []
    monkeypatch.setattr(page, "write", lambda folder: folder / "compare.html")

    def run(training, work, dataset, read, seconds):
        begun.extend((each.name, len(read(each))) for each in work)
        yield from executor.local.run(training, work, dataset, read, 0)

    def connect(*_):
        return contextlib.nullcontext(executor.Executor(executor.Room("cpu", 1, 1e12), 1, run))

    monkeypatch.setattr(executor, "connect", connect)
    return begun


@pytest.mark.slow
def test_what_is_done_is_not_trained_again(tmp_path, trained):
    options, console = dataclasses.replace(SMALL, out=tmp_path), Console(record=True, width=160)
    command.compare(options, console)
    assert trained == [("wine-142 vanilla", 0)]
    (part,), (stored,) = SMALL.parts(), results.stored(tmp_path)
    setting = Setting("wine", stored.setting["identity"], 142, part.plain, part.budget)
    rows = results.load(tmp_path, setting)
    results.write(tmp_path, setting, rows[:3])  # as if it had been killed after three networks
    command.compare(options, console)
    assert trained[1:] == [("wine-142 vanilla", 3)]
    again = results.load(tmp_path, setting)
    assert [row["test_error"] for row in again[3:]] == [row["test_error"] for row in rows[3:]]
    command.compare(options, console)
    assert len(trained) == 2
    command.compare(dataclasses.replace(options, plan=True), console)
    assert "wine-142 vanilla" in (text := console.export_text()) and "5 of 5 networks" in text


def planned(**changes):
    """Returns the lines that --plan prints."""
    console = Console(record=True, width=200)
    command.compare(dataclasses.replace(SMALL, **{"plan": True, "report_seeds": 6} | changes), console)
    return console.export_text().splitlines()


def trained_before(folder, seconds, **changes):
    """Writes a file with one finished network, which took this many seconds."""
    (part,), pool = dataclasses.replace(SMALL, **{"report_seeds": 6} | changes).parts(), load_pool("wine")
    setting = Setting("wine", pool.identity, 142, part.plain, part.budget, part.title)
    row = {"method": "vanilla", "stage": "search", "point": 0, "seed": 0, "failed": 0.0, "seconds": seconds}
    results.write(folder, setting, [row])


def test_too_few_seeds_are_known_before_training(tmp_path, trained, monkeypatch):
    warning = "5 report seeds cannot decide anything: at least 6 are needed. The page will recommend nothing."
    assert planned(out=tmp_path, report_seeds=5)[0] == warning
    assert not any("report seeds" in line for line in planned(out=tmp_path, report_seeds=6))
    console = Console(record=True, width=200)
    monkeypatch.setattr(command, "_train", lambda *_: console.print("training"))
    command.compare(dataclasses.replace(SMALL, out=tmp_path, report_seeds=5), console)
    assert console.export_text().splitlines()[:2] == [warning, "training"]


def test_a_fresh_plan_says_how_long_each_method_and_all_of_them_take(tmp_path):
    first, second, last = planned(out=tmp_path, methods=("corr",), steps=150_000, report_seeds=8)
    time = r"0:\d\d:\d\d of one core left"
    assert re.fullmatch(rf"wine-142 vanilla +0 of 11 networks, {time}", first)
    assert re.fullmatch(rf"wine-142 corr +0 of 11 networks, {time}", second)
    source = (
        r"estimated from finished networks here, or on other machines in experiments/comparison/reference"
    )
    assert re.fullmatch(rf"total: about {time}, plus compilation \({source}\)", last)
    before, after = (re.findall(time, planned(out=tmp_path, steps=steps)[-1]) for steps in (10**5, 2 * 10**5))
    assert seconds_of(*after) == pytest.approx(2 * seconds_of(*before), abs=2)


def seconds_of(text):
    hours, minutes, seconds = text.partition(" ")[0].split(":")
    return 3600 * int(hours) + 60 * int(minutes) + int(seconds)


def test_a_settings_own_networks_tell_how_long_it_takes(tmp_path):
    trained_before(tmp_path, 10.0)
    line, last = planned(out=tmp_path)
    assert line.split(maxsplit=2)[2] == "1 of 9 networks, 0:01:20 of one core left"
    assert last.startswith("total: about 0:01:20 of one core left")


def test_what_no_network_tells_is_left_out_of_the_time(tmp_path):
    changes = {"optimiser": "sgd", "methods": ("vcreg",)}  # the reference has no VCReg with SGD
    first, second, last = planned(out=tmp_path, **changes)
    assert "of one core left" in first and second.endswith("0 of 9 networks")
    assert last.startswith("total: at least 0:00:0")
    last = planned(out=tmp_path, family="conv", optimiser="sgd", datasets=("digits",))[-1]
    assert last == "total: unknown, because there is no finished network to estimate it from"


def test_the_reference_is_not_read_if_nothing_is_missing(tmp_path, monkeypatch):
    monkeypatch.setattr(timing, "_step_seconds", lambda *_: pytest.fail("read the reference"))
    trained_before(tmp_path, 10.0)
    planned(out=tmp_path)


def test_settings_that_two_numbers_of_rows_share_are_trained_once(tmp_path):
    once = planned(out=tmp_path)
    assert planned(out=tmp_path, rows=(1000, 2000)) == once


def test_all_data_sets_are_loaded_and_checked_before_any_is_trained(tmp_path, trained):
    (tmp_path / "bad.arff").write_text("@relation bad\n@attribute x numeric\n@data\n1\n")
    small = ["@relation small", "@attribute x numeric", "@attribute y {a, b}", "@data", *["1,a", "2,b"] * 50]
    (tmp_path / "small.arff").write_text("\n".join(small))
    for name, message in (("bad.arff", "must be the class"), ("small.arff", "small has 80 rows")):
        options = dataclasses.replace(SMALL, out=tmp_path, datasets=("wine", str(tmp_path / name)))
        with pytest.raises(ValueError, match=message):
            command.compare(options, Console())
    assert not trained


def test_files_of_other_settings_are_found_before_any_is_trained(tmp_path, trained):
    trained_before(tmp_path, 10.0)
    options = dataclasses.replace(SMALL, steps=7, out=tmp_path, datasets=("breast_cancer", "wine"))
    with pytest.raises(ResultsError, match="another setting with the same name"):
        command.compare(options, Console())
    assert not trained


def test_two_data_sets_may_not_have_one_name(tmp_path, trained):
    rows = "\n".join(["1,a", "2,b", "3,a"] * 70)
    text = f"@relation wine\n@attribute x numeric\n@attribute y {{a, b}}\n@data\n{rows}\n"
    (tmp_path / "wine.arff").write_text(text)
    options = dataclasses.replace(SMALL, out=tmp_path, datasets=("wine", str(tmp_path / "wine.arff")))
    with pytest.raises(ValueError, match="two data sets are named wine: rename one of the files"):
        command.compare(options, Console())
    assert not trained


def test_features_need_all_their_hyperparameters_before_any_is_trained(tmp_path, trained, monkeypatch):
    shutil.copy(
        results.REFERENCE / "digits-1000.nc", tmp_path
    )  # where digits have theirs, and letter has none
    digits = load_pool("digits")
    monkeypatch.setattr(load, "load_pool", lambda path, **_: digits._replace(name=Path(path).stem))
    with pytest.raises(ValueError, match="letter-1000-features uses the hyperparameters that vanilla chose"):
        command.compare(Compare(part="features", only=("digits", "letter"), out=tmp_path), Console())
    assert not trained


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"methods": ("dropuot",)},
            r"unknown method 'dropuot' \(did you mean 'dropout'\?\): choose from vanilla",
        ),
        ({"methods": ("vanilla-copied",)}, "give --part ladder"),
        ({"datasets": ()}, "number of datasets must be at least 1"),
        ({"rows": (5,)}, "rows must be at least 10; got 5"),
        ({"steps": 0}, "steps must be at least 1; got 0"),
        ({"only": ("mnist",)}, "--only selects data sets of a part: give --part"),
    ],
)
def test_options_that_cannot_be(changes, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(SMALL, **changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"family": "conv"}, "wine is a table: --family conv needs images"),
        (
            {"rows": (100,)},
            "wine has 100 rows for a sample: four fifths of them are for training, which needs at least 100",
        ),
        ({"report_seeds": 1}, "report seeds must be at least 2"),
        ({"finalists": 3}, "3 finalists are more than the 2 points"),
        ({"datasets": ("wne",)}, r"wne not found; did you mean 'wine'\?"),
        (
            {"part": "ladder", "only": ("wine",)},
            "unknown data set of ladder 'wine': choose from mnist, fashion_mnist",
        ),
    ],
)
def test_settings_that_cannot_be(changes, message, tmp_path, trained):
    with pytest.raises(ValueError, match=message):
        command.compare(dataclasses.replace(SMALL, out=tmp_path, **changes), Console())
    assert not trained


def test_methods_may_be_typed_as_in_a_sweep():
    (part,) = dataclasses.replace(SMALL, methods=("drop",)).parts()
    assert part.methods == ("vanilla", "dropout")


def test_parts_of_the_plan_are_all_there():
    ladder = Compare(part="ladder").parts()
    assert len(ladder) == 2 * (7 + 5 + 1) and {part.pool for part in ladder} == {"mnist", "fashion_mnist"}
    letter = Compare(part="comparison", only=("letter",)).parts()
    kinds = [(part.rows, part.title) for part in letter]
    assert kinds == [
        (1000, ""),
        (5000, ""),
        (1000, ""),
        (1000, "adamw"),
    ]
