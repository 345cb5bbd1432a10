"""Statistics of a few seeds: intervals, tests, verdicts on sentences. Knows no network."""
