"""The runnable experiments. They work from a clone; the installed package contains the library only."""
