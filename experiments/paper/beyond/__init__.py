"""What the paper leaves open, as PLAN.md says: a study a file. A new study is one file and one line here."""

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
"""In the order of the page."""
