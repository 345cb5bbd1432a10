"""Everything specific to this paper, except its protocols: its numbers, claims, figures, studies and page."""
