"""The fault matrix: the effect of each fault on its item, the batch, the bill and the next run.

Each row is a line of the table in ``docs/reliability.md`` and a test over real HTTP. ``python -m
imagegen_pipeline_tests.integration.fault_matrix`` prints the table.
"""
