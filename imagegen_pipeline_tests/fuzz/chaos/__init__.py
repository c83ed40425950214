"""Batches on the simulator, killed with SIGKILL at random moments and restarted to the end.

``variants`` lists what is killed, ``scratch`` writes the items, ``worker`` is the killed process,
``kill_points`` chooses the moments, ``harness`` combines them. Afterwards ``evidence`` reads the
simulator, the ledger, the disk and Dagster, and ``rules`` compares them. ``python -m
imagegen_pipeline_tests.fuzz.chaos --help`` runs it by hand and writes the table.
"""
