"""Files: the one way to replace one, and where users keep theirs."""
