"""Clients of the paid services: wire ⇄ domain. They know nothing of Dagster or the ledger."""
