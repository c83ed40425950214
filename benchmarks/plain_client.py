"""A minimal Duomi client: request, download, write."""

from __future__ import annotations

import types
from pathlib import Path

import requests

KEY = "simulated-duomi-key"
MODEL = "stabilityai/stable-diffusion-xl-base-1.0"
TIMEOUT = 120

Client = requests.Session | types.ModuleType
"""``requests`` itself, which opens a connection for each call, or a session that keeps them."""


def make_picture(client: Client, address: str, prompt: str, size: tuple[int, int]) -> bytes:
    """The file of the picture that the service makes of the prompt; raises for a refusal."""
    answer = client.post(
        f"{address}/duomi/v1/images/generations",
        json={"model": MODEL, "prompt": prompt, "image_size": f"{size[0]}x{size[1]}"},
        headers={"Authorization": KEY},
        timeout=TIMEOUT,
    )
    answer.raise_for_status()
    (image,) = answer.json()["images"]
    file = client.get(image["url"], timeout=TIMEOUT)
    file.raise_for_status()
    return bytes(file.content)


def keep_picture(
    client: Client, address: str, prompt: str, size: tuple[int, int], path: Path
) -> None:
    """Make the picture and write its file."""
    path.write_bytes(make_picture(client, address, prompt, size))


def prompt_texts(count: int) -> list[str]:
    """So many different prompts."""
    return [f"a lighthouse by night, number {number}" for number in range(count)]
