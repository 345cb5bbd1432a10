"""Files, read and written: the only room that opens any."""
