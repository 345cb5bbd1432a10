"""Everything specific to this paper: its protocols, numbers, claims, figures and page."""
