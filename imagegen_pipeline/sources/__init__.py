"""Read-only scanners of the users' prompts and actors.

Bad input never raises: each bad file or row becomes a ``SourceProblem``, one line with its
location and a remedy, and the other files and rows are read.
"""
