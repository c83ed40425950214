"""Dagster as its users have it: ``dagster dev`` as processes, GraphQL, and pages in Chromium.

``serving`` starts it on a scratch project, ``graphql`` asks and tells it what its pages do (in the
words of ``queries``), ``studio`` is what a test has of both. One of them serves all tests of this
folder, so each test has prompts of its own, by which its events and bills are told from those of
the others. ``python -m imagegen_pipeline_tests.dagster_ui.screenshots`` writes the documents'
pictures.
"""
