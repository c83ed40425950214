"""Batches on the simulator, killed with SIGKILL at random moments and restarted to the end.

``variants`` says what is killed, ``scratch`` makes the items, ``life`` is what a worker process
does, ``moments`` when it is killed, ``harness`` puts them together; ``evidence`` collects what the
simulator, the ledger, the disk and Dagster say afterwards, and ``rules`` compares them.
``python -m imagegen_pipeline_tests.chaos --help`` runs it by hand and writes the table.
"""
