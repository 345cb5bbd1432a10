"""What is this paper's and nobody else's: its protocols, numbers, claims, figures and page."""
