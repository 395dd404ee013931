"""Methods: what a model represents, what its states carry, and what changes when they are edited."""
