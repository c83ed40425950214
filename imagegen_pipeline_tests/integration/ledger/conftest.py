"""The fixtures of the ledger's unit tests, for tests with more than one process."""

from imagegen_pipeline_tests.unit.ledger.conftest import ledger, url

__all__ = ["ledger", "url"]
