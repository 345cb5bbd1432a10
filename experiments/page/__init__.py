"""Pictures and tables of any sweep. Knows no paper."""
