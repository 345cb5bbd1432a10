"""Studies of questions that the paper leaves open, planned in PLAN.md. Each study is a file here and a
line below."""

from experiments.paper.beyond import (
    convolutions,
    dropout_law,
    forty_seeds,
    merging,
    shrinking_rate,
    shrinking_weight,
)

STUDIES = (
    forty_seeds.STUDY,
    shrinking_rate.STUDY,
    shrinking_weight.STUDY,
    convolutions.STUDY,
    merging.STUDY,
    dropout_law.STUDY,
)
"""All studies, in the order of the page."""
