"""GraphQL queries and mutations of Dagster's pages; each returns its result as ``answer``."""

_LAUNCHED = """
  __typename
  ... on LaunchRunSuccess { run { runId } }
  ... on RunConfigValidationInvalid { errors { message } }
  ... on PythonError { message }
"""
LAUNCH = f"""
mutation($params: ExecutionParams!) {{
  answer: launchPipelineExecution(executionParams: $params) {{ {_LAUNCHED} }}
}}"""
REEXECUTE = f"""
mutation($params: ReexecutionParams!) {{
  answer: launchPipelineReexecution(reexecutionParams: $params) {{ {_LAUNCHED} }}
}}"""
TERMINATE = """
mutation($id: String!) {
  answer: terminateRun(runId: $id) { __typename ... on PythonError { message } }
}"""
BACKFILL = """
mutation($params: LaunchBackfillParams!) {
  answer: launchPartitionBackfill(backfillParams: $params) {
    __typename
    ... on LaunchBackfillSuccess { backfillId }
    ... on PythonError { message }
  }
}"""
BACKFILL_STATUS = """
query($id: String!) {
  answer: partitionBackfillOrError(backfillId: $id) { ... on PartitionBackfill { status } }
}"""
_RUN = "runId status runConfig"
RUN_BY_ID = f"query($id: ID!) {{ answer: runOrError(runId: $id) {{ ... on Run {{ {_RUN} }} }} }}"
RUNS = f"""
query($filter: RunsFilter!) {{
  answer: runsOrError(filter: $filter) {{ ... on Runs {{ results {{ {_RUN} }} }} }}
}}"""
EVENTS = """
query($id: ID!) {
  answer: runOrError(runId: $id) {
    ... on Run {
      eventConnection {
        events {
          __typename
          ... on MessageEvent { message }
          ... on RunFailureEvent { error { message } }
          ... on EngineEvent { metadataEntries { label ... on TextMetadataEntry { text } } }
        }
      }
    }
  }
}"""
PARTITIONS = """
query($asset: AssetKeyInput!) {
  answer: assetNodeOrError(assetKey: $asset) {
    ... on AssetNode {
      assetPartitionStatuses {
        ... on DefaultPartitionStatuses {
          materializedPartitions failedPartitions unmaterializedPartitions materializingPartitions
        }
      }
    }
  }
}"""
KEYS = """
query($asset: AssetKeyInput!) {
  answer: assetNodeOrError(assetKey: $asset) { ... on AssetNode { partitionKeys } }
}"""
STALE = """
query($asset: AssetKeyInput!, $keys: [String!]!) {
  answer: assetNodeOrError(assetKey: $asset) {
    ... on AssetNode { staleStatusByPartition(partitions: $keys) }
  }
}"""
OBSERVED = """
query($asset: AssetKeyInput!, $keys: [String!]!) {
  answer: assetNodeOrError(assetKey: $asset) {
    ... on AssetNode { assetObservations(partitions: $keys) { description } }
  }
}"""
METADATA = """
query($asset: AssetKeyInput!, $keys: [String!]!) {
  answer: assetNodeOrError(assetKey: $asset) {
    ... on AssetNode {
      assetMaterializations(partitions: $keys) {
        runId
        metadataEntries {
          label
          ... on TextMetadataEntry { text }
          ... on MarkdownMetadataEntry { mdStr }
        }
      }
    }
  }
}"""
CHECKS = """
query($asset: AssetKeyInput!) {
  answer: assetNodeOrError(assetKey: $asset) {
    ... on AssetNode {
      assetChecksOrError {
        ... on AssetChecks {
          checks {
            name
            partitionStatuses {
              ... on AssetCheckDefaultPartitionStatuses {
                succeededPartitions failedPartitions inProgressPartitions
                skippedPartitions executionFailedPartitions
              }
            }
          }
        }
      }
    }
  }
}"""
SENSOR = """
query($sensor: SensorSelector!) {
  answer: sensorOrError(sensorSelector: $sensor) {
    ... on Sensor {
      sensorState {
        id status
        ticks(limit: 50) { tickId status timestamp runIds skipReason error { message } }
      }
    }
  }
}"""
START_SENSOR = """
mutation($sensor: SensorSelector!) {
  answer: startSensor(sensorSelector: $sensor) { __typename ... on PythonError { message } }
}"""
STOP_SENSOR = """
mutation($id: String!) {
  answer: stopSensor(id: $id) { __typename ... on PythonError { message } }
}"""
