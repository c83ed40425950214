"""The bottom layer: plain data and rules, without I/O and without Dagster."""
