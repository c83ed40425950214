"""Tests of a running Dagster: ``dagster dev`` as processes, its GraphQL API, and its pages.

``dagster_process`` starts it on a scratch project, ``webserver_client`` sends the GraphQL requests
of its pages, and ``deployment`` combines both for tests. One Dagster serves all tests of a worker,
so each test has prompts of its own. ``python -m imagegen_pipeline_tests.e2e.dagster.screenshots``
writes the screenshots of the documents.
"""
