"""The fault matrix: what a fault does to its item, to the batch, to the bill, and what the next
run makes of it.

Each row is a line of the table in ``docs/reliability.md`` and a test over real HTTP.
``python -m imagegen_pipeline_tests.fault_matrix`` prints the table.
"""
