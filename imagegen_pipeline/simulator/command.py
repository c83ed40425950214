"""The command that runs the simulator."""

import json
import os
from pathlib import Path

import click

from imagegen_pipeline.simulator.options import (
    DUOMI_ANSWERS,
    RUNPOD_OUTPUTS,
    SimulatorOptions,
)

DEFAULT_PORT = 8188


@click.command(context_settings={"show_default": True})
@click.option(
    "--port",
    default=DEFAULT_PORT,
    type=click.IntRange(0, 65535),
    help="Port to listen on; 0 picks a free one.",
)
@click.option("--host", default="127.0.0.1", help="Address to listen on.")
@click.option(
    "--latency", default=0.05, type=click.FloatRange(0), help="Seconds that one picture takes."
)
@click.option(
    "--capacity",
    default=64,
    type=click.IntRange(1),
    help="Jobs that run at once at each of Duomi and RunPod. RunPod jobs wait IN_QUEUE, Duomi "
    "requests just wait; ComfyUI always runs one.",
)
@click.option(
    "--cold-start",
    default=0.0,
    type=click.FloatRange(0),
    help="Seconds from the first RunPod job until a worker is up.",
)
@click.option(
    "--retention",
    default=1800.0,
    type=click.FloatRange(0),
    help="Seconds that a finished RunPod job or Duomi task is kept; then its status is a 404.",
)
@click.option(
    "--url-ttl",
    default=3600.0,
    type=click.FloatRange(0),
    help="Seconds that a picture's URL works; then it is a 403.",
)
@click.option(
    "--rate-limit",
    type=click.IntRange(1),
    help="Submits a minute and provider; one more is a 429. Without it there is no limit.",
)
@click.option(
    "--platform-limits/--no-platform-limits",
    default=True,
    help="Answer 429 past RunPod's documented limits: in ten seconds 1000 /run, 2000 /status, "
    "100 /cancel, 2 /purge-queue.",
)
@click.option(
    "--duomi-answer",
    default=DUOMI_ANSWERS[0],
    type=click.Choice(DUOMI_ANSWERS),
    help="List name and field of Duomi's answers.",
)
@click.option(
    "--runpod-output",
    default=RUNPOD_OUTPUTS[0],
    type=click.Choice(RUNPOD_OUTPUTS),
    help="Shape of the worker's output and, behind the colon, how a picture is written "
    "(default: base64).",
)
@click.option(
    "--strict-sizes", is_flag=True, help="Refuse Duomi sizes that its documentation does not list."
)
@click.option(
    "--pictures",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folder of PNG files to answer with, as they are, each where its size is asked for; other "
    "sizes are drawn. They are read once, into memory.",
)
@click.option(
    "--duomi-key", default=SimulatorOptions().duomi_key, help="The key that Duomi accepts."
)
@click.option(
    "--comfyui-token",
    default=SimulatorOptions().comfyui_token,
    help="The bearer token that ComfyUI accepts.",
)
@click.option(
    "--comfyui-own-ids/--no-comfyui-own-ids",
    default=True,
    help="Take the prompt_id that a client chooses, as newer ComfyUI servers do.",
)
@click.option(
    "--runpod-key", default=SimulatorOptions().runpod_key, help="The key that RunPod accepts."
)
@click.option(
    "--runpod-endpoint",
    default=SimulatorOptions().runpod_endpoint,
    help="The RunPod endpoint id that exists; '*' for all.",
)
@click.option(
    "--ready-file",
    type=click.Path(dir_okay=False, path_type=Path),
    help='File to write once it answers: {"port": ..., "pid": ...}.',
)
@click.option(
    "--idle-exit", type=click.FloatRange(0), help="End after so many seconds without a request."
)
def simulate(
    port: int, host: str, ready_file: Path | None, idle_exit: float | None, **settings: object
) -> None:
    """Run a local server that answers as Duomi, RunPod and ComfyUI do, at no cost.

    It makes real PNG pictures of the size asked for, each marked SIMULATED, or sends
    those that --pictures has, and counts what the real providers would have billed.
    The lines it prints point a shell at it; leave it running and use another terminal.

    \b
    What it counted:       curl localhost:8188/_sim/stats
    Script a fault:        curl localhost:8188/_sim/faults -d
      '{"provider": "duomi", "operation": "submit", "fault": "status", "status": 429,
        "headers": {"Retry-After": "2"}, "times": 3}'
    Pending faults:        curl localhost:8188/_sim/faults
    Remove them:           curl -X DELETE localhost:8188/_sim/faults
    Reset everything:      curl -X POST localhost:8188/_sim/reset

    An unknown fault is answered with the list of the known ones.
    """
    from imagegen_pipeline.simulator.prepared import NoPicturesError
    from imagegen_pipeline.simulator.server import serve

    options = SimulatorOptions(**settings)  # type: ignore[arg-type]  # click has checked each

    def say_ready(actual_port: int) -> None:
        click.echo(_shell_lines(options, host, actual_port))
        if ready_file is not None:
            _write_whole(ready_file, json.dumps({"port": actual_port, "pid": os.getpid()}))

    try:
        serve(options, host=host, port=port, on_ready=say_ready, idle_exit=idle_exit)
    except NoPicturesError as error:
        raise click.BadParameter(str(error), param_hint="'--pictures'") from error
    except OSError as error:
        raise click.UsageError(
            f"cannot listen on {host}:{port}: {error.strerror or error}. "
            "Another simulator may run there; choose another --port, or 0 for any."
        ) from error


def _shell_lines(options: SimulatorOptions, host: str, port: int) -> str:
    root = f"http://{host}:{port}"
    endpoint = options.runpod_endpoint
    exports = {
        "DUOMI_BASE_URL": f"{root}/duomi",
        "DUOMI_API_KEY": options.duomi_key,
        "RUNPOD_BASE_URL": f"{root}/runpod/v2",
        "RUNPOD_API_KEY": options.runpod_key,
        "RUNPOD_SERVER_100_ID": "simulated-endpoint" if endpoint == "*" else endpoint,
        "COMFYUI_BASE_URL": f"{root}/comfyui",
        "COMFYUI_API_TOKEN": options.comfyui_token,
        "IMAGEGEN_ALLOW_PRIVATE_HOSTS": host,
    }
    lines = [f"export {name}={value}" for name, value in exports.items()]
    return "\n".join(
        [
            f"# Simulating Duomi, RunPod and ComfyUI on {root} (Ctrl+C ends it). In another shell:",
            *lines,
        ]
    )


def _write_whole(path: Path, text: str) -> None:
    """Write a whole file or none."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.write_text(text)
    draft.replace(path)
