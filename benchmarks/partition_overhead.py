"""What a partition costs in a range run, beside a bare asset that only logs its events.

``python -m benchmarks.partition_overhead [PARTITIONS]`` prints a Markdown table. All runs are in
one process, one after the other, on instances of the same kind; the service is the simulator
without any delay, with pictures of 64x64 pixels, so that what is measured is this project and
Dagster. "Bare" is an asset with the same partitions whose body logs a materialization for each.
"""

import sys
import time
from collections.abc import Callable

import dagster as dg

from benchmarks.scratch import machine, scratch_project, write_prompts

ROUNDS = 3


def bare_definitions() -> dg.Definitions:
    """An asset that only logs its events."""

    @dg.asset(
        partitions_def=dg.DynamicPartitionsDefinition(name="prompts"),
        backfill_policy=dg.BackfillPolicy.single_run(),
        output_required=False,
    )
    def bare(context: dg.AssetExecutionContext):  # type: ignore[no-untyped-def]  # noqa: ANN202
        for key in context.partition_keys:
            context.log_event(dg.AssetMaterialization("bare", partition=key))
        yield from ()

    return dg.Definitions(assets=[bare], executor=dg.in_process_executor)


def run(
    instance: dg.DagsterInstance, defs: dg.Definitions, asset: str, keys: list[str], ops: object
) -> None:
    """One run over all the keys."""
    job = defs.resolve_implicit_global_asset_job_def()
    done = job.execute_in_process(
        run_config={"ops": ops},
        instance=instance,
        asset_selection=[dg.AssetKey(asset)],
        tags={
            "dagster/asset_partition_range_start": keys[0],
            "dagster/asset_partition_range_end": keys[-1],
        },
    )
    assert done.success


def timed(work: Callable[[], None]) -> float:
    """Seconds that a piece of work takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def main(partitions: int) -> None:
    """Measure and print."""
    from imagegen_pipeline.definitions import defs
    from imagegen_pipeline.defs.instance import open_instance

    with scratch_project() as root:
        write_prompts(root, partitions)
        instance = open_instance()
        assert instance is not None
        with instance:
            scan = defs.resolve_implicit_global_asset_job_def()
            scan.execute_in_process(instance=instance, asset_selection=[dg.AssetKey("source_scan")])
            keys = list(instance.get_dynamic_partitions("prompts"))
            small = {"generated_images": {"config": {"image_size": "64x64"}}}
            bare = bare_definitions()
            rows: dict[str, list[float]] = {}
            for round_ in range(ROUNDS):
                config = {**small["generated_images"]["config"], "seed": round_ + 1}
                made = {"generated_images": {"config": config}}
                pieces: dict[str, Callable[[], None]] = {
                    "bare asset": lambda: run(instance, bare, "bare", keys, {}),
                    "prompts": lambda: run(instance, defs, "prompts", keys, {}),
                    "generated_images, all new": lambda: run(
                        instance,
                        defs,
                        "generated_images",
                        keys,
                        made,  # noqa: B023 - called at once
                    ),
                    "generated_images, all reused": lambda: run(
                        instance,
                        defs,
                        "generated_images",
                        keys,
                        made,  # noqa: B023 - called at once
                    ),
                }
                for name, piece in pieces.items():
                    rows.setdefault(name, []).append(timed(piece))
    base = min(rows["bare asset"])
    print(f"{partitions} partitions; {machine()}; the best of {ROUNDS} rounds.\n")
    print("| run | seconds | ms a partition | beside bare |\n| --- | ---: | ---: | ---: |")
    for name, seconds in rows.items():
        best = min(seconds)
        each = best / partitions * 1000
        print(f"| {name} | {best:.1f} | {each:.1f} | {best / base:.2f} |")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1000)
