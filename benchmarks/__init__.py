"""Figures, one script each: ``python -m benchmarks.NAME``. Timings are no tests."""
