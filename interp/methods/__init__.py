"""Methods: what a model represents, what its states carry, how to change both."""
