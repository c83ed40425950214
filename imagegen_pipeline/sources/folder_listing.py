"""What a folder of sources holds, in an order that does not change."""

from __future__ import annotations

from pathlib import Path

from imagegen_pipeline.domain.errors import SourceError
from imagegen_pipeline.sources.places import reason


def list_folder(folder: Path, *, setting: str) -> list[Path]:
    """Everything in ``folder`` that is not hidden, by name (code points: ``B`` before ``a``).

    Raises SourceError when it cannot be listed; its remedy names ``setting``.
    """
    try:
        return sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    except FileNotFoundError as error:
        raise SourceError(
            "The folder does not exist.",
            remedy=f"Create it, or set {setting} to the folder that is meant.",
        ) from error
    except NotADirectoryError as error:
        raise SourceError(
            "This is not a folder.", remedy=f"Set {setting} to the folder that is meant."
        ) from error
    except (OSError, ValueError) as error:
        raise SourceError(
            f"The folder cannot be read: {reason(error)}.",
            remedy=f"Repair its permissions, or set {setting} to the folder that is meant.",
        ) from error
