"""Upkeep: clean-up, archive, backup and restore of what the pipeline keeps; and notices of failure.

None of it sends anything to a service. What is deleted is deleted by a plan that can be looked at
first; no whole picture is deleted at all: old ones are moved into archives.
"""
