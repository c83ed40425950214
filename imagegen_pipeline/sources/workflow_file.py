"""The workflow's file → a workflow that can be bound."""

from __future__ import annotations

from pathlib import Path

from imagegen_pipeline.domain.comfy.workflow import Workflow, parse_workflow
from imagegen_pipeline.domain.errors import WorkflowError

LARGEST_FILE = 5 * 1024 * 1024
"""In bytes. A large graph has a few hundred kilobytes; RunPod takes bodies to 10 MB."""


def load_workflow(path: Path) -> Workflow:
    """The workflow in ``path``; WorkflowError when it cannot be read or cannot be bound."""
    try:
        with path.open("rb") as file:
            text = file.read(LARGEST_FILE + 1)
    except OSError as error:
        raise WorkflowError(
            f"{path}: the workflow's file cannot be read: {error.strerror or error}.",
            remedy="Set IMAGEGEN_WORKFLOW to a graph exported from ComfyUI's menu "
            '"Export (API)", and check the permissions of its file.',
        ) from error
    if len(text) > LARGEST_FILE:
        raise WorkflowError(
            f"{path}: the file has more than {LARGEST_FILE:,} bytes, too many for a graph.",
            remedy='Set IMAGEGEN_WORKFLOW to a graph exported from ComfyUI\'s menu "Export (API)".',
        )
    return parse_workflow(text, name=str(path))
