"""A local server that speaks the providers' wire, and counts what they would bill.

It is written from the providers' documentation alone and imports nothing from the rest of
the project, so that client and simulator cannot share a misreading.
``python -m imagegen_pipeline.simulator`` runs it.
"""
