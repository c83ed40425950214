"""Result URLs: they expire, and they count requests that carry a key."""

import asyncio
import base64
import time
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from imagegen_pipeline.simulator.fault_answers import answer_through
from imagegen_pipeline.simulator.faults import PICTURE_FAULTS, TRANSPORT_FAULTS, Fault
from imagegen_pipeline.simulator.pictures import Recipe
from imagegen_pipeline.simulator.simulation import Simulation

FORBIDDEN = (
    '<?xml version="1.0" encoding="UTF-8"?>\n'
    "<Error><Code>AccessDenied</Code><Message>Request has expired</Message></Error>"
)
NOT_FOUND = (
    '<?xml version="1.0" encoding="UTF-8"?>\n'
    "<Error><Code>NoSuchKey</Code><Message>The specified key does not exist.</Message></Error>"
)


@dataclass(frozen=True, slots=True)
class StoredPicture:
    """A recipe that a URL stands for, with the damage that its file has."""

    recipe: Recipe
    damage: Fault | None
    expires_at: float


class Files:
    """The pictures behind the URLs; each is drawn again at every download."""

    def __init__(self, sim: Simulation) -> None:
        """Start with none."""
        self._sim = sim
        self._stored: dict[str, StoredPicture] = {}

    def url_for(self, key: str, recipe: Recipe, fault: Fault | None, base_url: str) -> str:
        """The URL of the picture; the same key gives the same file."""
        if key not in self._stored:
            ttl = self._sim.options.url_ttl
            lives = 0.0 if fault is not None and fault.name == "expired_url" else ttl
            damage = fault if fault is not None and fault.name in PICTURE_FAULTS else None
            self._stored[key] = StoredPicture(recipe, damage, time.monotonic() + lives)
            loop = asyncio.get_running_loop()
            loop.call_later(max(60.0, 2 * ttl), self._stored.pop, key, None)
        return f"{base_url}files/{key}/picture.png"

    async def encoded(
        self, key: str, recipe: Recipe, fault: Fault | None, encoding: str, base_url: str
    ) -> str:
        """The picture as ``base64``, ``data_uri`` or ``url``, as the fault leaves it."""
        if encoding == "url":
            return self.url_for(key, recipe, fault, base_url)
        content, media_type = await self._sim.paint(recipe, fault)
        text = base64.b64encode(content).decode()
        if fault is not None and fault.name == "broken_base64":
            text = f"*{text[:-3]}"
        return f"data:{media_type};base64,{text}" if encoding == "data_uri" else text

    def clear(self) -> None:
        """Forget all files."""
        self._stored.clear()

    async def download(self, request: Request) -> Response:
        """``GET /files/{key}/{name}``."""
        if "authorization" in request.headers:
            self._sim.billing.key_leaks += 1
            return PlainTextResponse("InvalidArgument: unexpected Authorization", status_code=400)
        stored = self._stored.get(request.path_params["key"])
        prompt = stored.recipe.prompt if stored is not None else None
        applicable = TRANSPORT_FAULTS | PICTURE_FAULTS | {"expired"}
        fault = self._sim.faults.take("files", "download", prompt, applicable)

        async def work() -> Response:
            return await self._content(stored, fault)

        return await answer_through(fault, request, self._sim.connections, work)

    async def _content(self, stored: StoredPicture | None, fault: Fault | None) -> Response:
        name = fault.name if fault is not None else ""
        if stored is None or name == "expired":
            return Response(NOT_FOUND, status_code=404, media_type="application/xml")
        if stored.expires_at <= time.monotonic() or name == "expired_url":
            return Response(FORBIDDEN, status_code=403, media_type="application/xml")
        damage = fault if name in PICTURE_FAULTS else stored.damage
        content, media_type = await self._sim.paint(stored.recipe, damage)
        self._sim.billing.downloads += 1
        return Response(content, media_type=media_type)


def encoding_under(fault: Fault | None, encoding: str) -> str:
    """The encoding to use: a fault of URLs needs a URL, one of base64 needs base64."""
    if fault is not None and fault.name == "expired_url":
        return "url"
    if fault is not None and fault.name == "broken_base64" and encoding == "url":
        return "base64"
    return encoding
