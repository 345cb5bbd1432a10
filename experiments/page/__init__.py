"""Pictures and tables of any sweep. Nothing here depends on the paper."""
