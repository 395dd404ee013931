"""Statistics: estimates with intervals, clustered by problem."""
