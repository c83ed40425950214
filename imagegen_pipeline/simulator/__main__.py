"""``python -m imagegen_pipeline.simulator``."""

from imagegen_pipeline.simulator.command import simulate

if __name__ == "__main__":
    simulate(prog_name="python -m imagegen_pipeline.simulator")
