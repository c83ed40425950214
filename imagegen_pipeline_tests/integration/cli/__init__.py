"""The `imagegen` command, as a person and as a script meet it."""
