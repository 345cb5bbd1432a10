"""The runnable experiments. They need a clone, because the installed package contains only the library."""
