"""Statistics of a few seeds: intervals, tests, verdicts on the paper's sentences. Independent of networks."""
