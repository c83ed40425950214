"""A local server that speaks the providers' wire, and counts what they would bill.

It is a witness, not an accomplice: it is written from the services' documents
alone and imports nothing from the rest of the project, so that a misreading
cannot pass on both sides. ``python -m imagegen_pipeline.simulator`` runs it.
"""
