"""Partition definitions: one partition per prompt and one per actor."""

import dagster as dg

from imagegen_pipeline.dagster_ext.names import ACTOR_PARTITIONS, PROMPT_PARTITIONS

PROMPTS = dg.DynamicPartitionsDefinition(name=PROMPT_PARTITIONS)
ACTORS = dg.DynamicPartitionsDefinition(name=ACTOR_PARTITIONS)
