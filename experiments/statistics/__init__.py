"""Statistics of a few seeds: intervals, tests, verdicts on sentences. Independent of networks."""
