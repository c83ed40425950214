"""The users' JavaScript, unchanged, against this server."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
from pathlib import Path

import pytest

from imagegen_pipeline_tests.integration.web.conftest import Serve

EXAMPLES = Path(__file__).with_name("users_examples.mjs")
NODE = shutil.which("node")


@pytest.mark.skipif(NODE is None, reason="the users' examples need node")
def test_the_guides_examples_run_unchanged(serve_live: Serve) -> None:
    """The plain call and the React component get their picture, seed and path; a wrong call
    throws the guide's error.
    """
    server = serve_live()
    done = subprocess.run(
        [str(NODE), str(EXAMPLES), server.url],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    message = json.loads(done.stdout.splitlines()[-1])
    assert message["status"] == 200
    for result, actor in (
        (message["result"], "0100_european_25_male"),
        (message["component"], "0101_asian_21_female"),
    ):
        assert result["status"] == "COMPLETED"
        assert result["localPath"] == f"/data/actors/{actor}/base_image/{actor}_base.png"
        assert isinstance(result["seed"], int)
        assert (result["metadata"]["width"], result["metadata"]["height"]) == (1024, 1536)
        (image,) = result["output"]["job_results"]["images"]
        place = server.project.root / result["localPath"].removeprefix("/")
        assert base64.b64decode(image) == place.read_bytes()
    assert message["refused"] == ("Missing required fields: actorName and description are required")
