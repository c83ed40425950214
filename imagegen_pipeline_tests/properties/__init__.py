"""Histories that hypothesis makes up: runs, crashes, and a service at its worst.

The engine, the ledger (a SQLite file) and the store are the real ones. ``simulated_provider`` is
the service and counts what it bills; ``process`` is a process that can die at any step;
``environment`` is where lives follow each other; ``rules`` say what must hold after each of them.
"""
