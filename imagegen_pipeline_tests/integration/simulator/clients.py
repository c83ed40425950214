"""Small clients of a running simulator, written from the providers' wire alone."""

import base64
import io
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import requests
from PIL import Image

DUOMI_KEY = "simulated-duomi-key"
RUNPOD_KEY = "simulated-runpod-key"
SDXL = "stabilityai/stable-diffusion-xl-base-1.0"
WAIT = 10

Graph = dict[str, Any]


def eventually(read: Callable[[], Any], *, within: float = WAIT) -> Any:
    """Call ``read`` until it gives something true, and return that."""
    deadline = time.monotonic() + within
    while not (found := read()):
        if time.monotonic() > deadline:
            raise AssertionError(f"not so within {within} s: {read}")
        time.sleep(0.01)
    return found


def graph(prompt: str = "a sailor", seed: int = 7, width: int = 64, height: int = 96) -> Graph:
    """The users' FLUX workflow in API format."""
    nodes: dict[str, tuple[str, dict[str, Any]]] = {
        "6": ("CLIPTextEncode", {"text": prompt, "clip": ["11", 0]}),
        "8": ("VAEDecode", {"samples": ["13", 0], "vae": ["10", 0]}),
        "9": ("SaveImage", {"images": ["8", 0], "filename_prefix": "ComfyUI"}),
        "10": ("VAELoader", {"vae_name": "ae.safetensors"}),
        "11": ("DualCLIPLoader", {"clip_name1": "a", "clip_name2": "b", "type": "flux"}),
        "12": ("UNETLoader", {"unet_name": "flux1-dev-fp8.safetensors", "weight_dtype": "default"}),
        "13": (
            "SamplerCustomAdvanced",
            {
                "noise": ["25", 0],
                "guider": ["22", 0],
                "sampler": ["16", 0],
                "sigmas": ["17", 0],
                "latent_image": ["27", 0],
            },
        ),
        "16": ("KSamplerSelect", {"sampler_name": "euler"}),
        "17": (
            "BasicScheduler",
            {"model": ["30", 0], "scheduler": "simple", "steps": 25, "denoise": 1.0},
        ),
        "22": ("BasicGuider", {"model": ["30", 0], "conditioning": ["26", 0]}),
        "25": ("RandomNoise", {"noise_seed": seed}),
        "26": ("FluxGuidance", {"conditioning": ["6", 0], "guidance": 3.5}),
        "27": ("EmptySD3LatentImage", {"width": width, "height": height, "batch_size": 1}),
        "30": (
            "ModelSamplingFlux",
            {
                "model": ["12", 0],
                "max_shift": 1.15,
                "base_shift": 0.5,
                "width": width,
                "height": height,
            },
        ),
    }
    return {
        node_id: {"class_type": class_type, "inputs": inputs}
        for node_id, (class_type, inputs) in nodes.items()
    }


def open_picture(content: bytes) -> Image.Image:
    """The picture, fully read."""
    picture = Image.open(io.BytesIO(content))
    picture.load()
    return picture


def decode(text: str) -> Image.Image:
    """The picture in a base64 text."""
    return open_picture(base64.b64decode(text, validate=True))


@dataclass(frozen=True)
class SimulatorClient:
    """A running simulator by its root URL."""

    root: str

    def duomi(self, *, timeout: float = WAIT, key: str = DUOMI_KEY, **fields: Any) -> Any:
        """Ask Duomi for a picture; an ``image_size`` of 64x96 unless said."""
        body = {"model": SDXL, "prompt": "a castle", "image_size": "64x96", "seed": 5} | fields
        url = f"{self.root}/duomi/v1/images/generations"
        return requests.post(url, json=body, headers={"Authorization": key}, timeout=timeout)

    def duomi_task(self, **fields: Any) -> Any:
        """Ask Duomi for a picture in the asynchronous mode."""
        body = {"model": "gpt-image-2", "prompt": "a castle", "size": "1024x1536", "n": 1} | fields
        return requests.post(
            f"{self.root}/duomi/v1/images/generations?async=true",
            json=body,
            headers={"Authorization": DUOMI_KEY},
            timeout=WAIT,
        )

    def task(self, task_id: str) -> Any:
        """Ask for a Duomi task."""
        url = f"{self.root}/duomi/v1/tasks/{task_id}"
        return requests.get(url, headers={"Authorization": DUOMI_KEY}, timeout=WAIT)

    def runpod(
        self,
        method: str,
        operation: str,
        *,
        endpoint: str = "simulated-endpoint",
        key: str = RUNPOD_KEY,
        timeout: float = WAIT,
        **more: Any,
    ) -> Any:
        """Call an operation of the RunPod endpoint."""
        headers = {"Authorization": f"Bearer {key}"}
        url = f"{self.root}/runpod/v2/{endpoint}/{operation}"
        return requests.request(method, url, headers=headers, timeout=timeout, **more)

    def run(self, workflow: object | None = None, **more: Any) -> str:
        """Queue a RunPod job; its id."""
        body = {"input": {"workflow": graph() if workflow is None else workflow}, **more}
        answer = self.runpod("POST", "run", json=body)
        assert answer.status_code == 200, answer.text
        assert answer.json()["status"] == "IN_QUEUE"
        return str(answer.json()["id"])

    def status(self, job_id: str) -> Any:
        """The body of the job's status."""
        return self.runpod("GET", f"status/{job_id}").json()

    def ended(self, job_id: str) -> Any:
        """The job's body once it has ended."""

        def read() -> Any:
            body = self.status(job_id)
            return None if body["status"] in ("IN_QUEUE", "IN_PROGRESS") else body

        return eventually(read)

    def download(self, url: str, **more: Any) -> Any:
        """Fetch a result URL, without a key."""
        return requests.get(url, timeout=WAIT, **more)

    def script(self, *faults: dict[str, Any]) -> None:
        """Script these faults."""
        answer = requests.post(f"{self.root}/_sim/faults", json=list(faults), timeout=WAIT)
        assert answer.status_code == 200, answer.text

    def waiting_faults(self) -> Any:
        """The faults that wait."""
        return requests.get(f"{self.root}/_sim/faults", timeout=WAIT).json()

    def stats(self, query: str = "") -> Any:
        """What the simulator counted."""
        return requests.get(f"{self.root}/_sim/stats{query}", timeout=WAIT).json()

    def reset(self) -> None:
        """Start afresh."""
        requests.post(f"{self.root}/_sim/reset", timeout=WAIT)
