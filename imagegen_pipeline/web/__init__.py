"""The HTTP endpoint and the gallery: one server over the same pipeline as every other door."""
