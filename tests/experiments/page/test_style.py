"""Styles differ by more than colour."""

from experiments.page import style


def test_variants_look_different_in_grey():
    looks = [style.line(variant) for variant in style.with_looks()]
    for attribute in ("color", "marker", "linestyle"):
        assert len({look[attribute] for look in looks}) == 4
    assert len({style.bar(variant)["hatch"] for variant in style.with_looks()}) == 4
