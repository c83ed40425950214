"""Ledger → tables: one row per attempt, per run or per day, with statistics and plots.

pandas, pyarrow and matplotlib are imported by the functions that use them.
"""
