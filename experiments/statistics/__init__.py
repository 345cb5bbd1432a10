"""What a few seeds say about all, and how a sentence is judged. Knows no network."""
