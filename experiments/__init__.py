"""The paper's experiments: everything with a path, a clock or a screen."""
