"""Readers of the users' sources: read-only and tolerant.

Bad input is never raised: each bad thing becomes a ``SourceProblem``, one clear line that
names the place and what to do, and the good ones go on.
"""
