"""Several seeds of each side: one ordinary audit for each pair, then a summary over seeds.

Nothing is imported here, since `probes.seeds.names` is read before the command line has work to do.
"""
