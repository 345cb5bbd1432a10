"""Configurations older than some options are read with the values of that time."""

import json

import h5py
import pytest

from experiments.disk.errors import ResultsError
from experiments.grid.networks import Network
from experiments.grid.protocols import ABLATION
from experiments.paper.report import REFERENCE
from experiments.reproduce import SWEEPS
from experiments.store.configuration import check, check_together
from experiments.store.gathered import identify
from experiments.sweep import Sweep

OLDER = {"mnist", "digits", "fashion_mnist", "mnist-paper", "mnist-weights", "mnist-rates"} | {
    protocol.name for protocol in ABLATION
}
"""Sweeps that were trained before there were families."""


@pytest.mark.golden
def test_committed_results_are_found():
    """Reads only their configurations. test_reproduce.py reads whole files."""
    paths = sorted(REFERENCE.glob("*.nc"))
    assert {path.stem for path in paths} == set(SWEEPS)
    for path in paths:
        with h5py.File(path) as sweep:
            names, configurations = (sweep[name].asstr()[:] for name in ("cell", "configuration"))
        stored = dict(zip((Network.parse(name).name for name in names), configurations, strict=True))
        for cell in SWEEPS[path.stem]:
            protocol = json.loads(stored[cell.name])["protocol"]
            assert ("family" not in protocol) == (path.stem in OLDER)
            assert protocol.get("family", "mlp") == cell.protocol.family
            check(path.stem, stored[cell.name], cell)


def test_what_names_no_family_is_not_conv(tmp_path):
    mlp, conv = (Sweep(family=family, sizes=("tiny",)).cells()[0] for family in ("mlp", "conv"))
    before = mlp.configuration()
    before = before | {"protocol": {k: v for k, v in before["protocol"].items() if k != "family"}}
    before = json.dumps(before)
    check("it", before, mlp)
    with pytest.raises(
        ResultsError, match=r"it was made with other options \(protocol.family is mlp there, not conv"
    ):
        check("it", before, conv)
    check_together(tmp_path, before, json.dumps(mlp.configuration()))
    message = r"belongs to another sweep \(protocol.family is mlp there, not conv\)"
    with pytest.raises(ResultsError, match=message):
        check_together(tmp_path, before, json.dumps(conv.configuration()))


def test_what_names_no_schedule_has_a_constant_rate():
    constant, decay = (
        Sweep(protocol=name, sizes=("tiny",)).cells()[0] for name in ("released", "released-decay")
    )
    before = constant.configuration()
    del before["protocol"]["optimisation"]["schedule"]
    check("it", json.dumps(before), constant)
    with pytest.raises(ResultsError, match=r"protocol.optimisation.schedule is constant there, not cosine"):
        check("it", json.dumps(before), decay)


def test_what_names_no_widths_and_no_optimiser_has_the_papers():
    papers = Sweep(sizes=("tiny",)).cells()[0]
    own = Sweep(sizes=("tiny",), widths=(30, 20), optimiser="adamw", learning_rate=0.001).cells()[0]
    before = papers.configuration()
    del before["protocol"]["widths"], before["protocol"]["optimiser"]
    check("it", json.dumps(before), papers)
    with pytest.raises(
        ResultsError, match=r"protocol.optimiser is sgd there, not adamw; protocol.optimisation.l"
    ):
        check("it", json.dumps(before), own)
    assert identify(json.dumps(own.configuration())) == own.network
