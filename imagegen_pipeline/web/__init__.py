"""The HTTP API and the gallery."""
