"""Floor 0: plain data and rules. No I/O, no Dagster."""
