"""A web service that makes variations and streams how far it is, one JSON object a line.

    pip install batch-reimagine fastapi uvicorn
    PHOTOS=photos OUT=out uvicorn --factory fastapi_app:app
    curl -X POST 'http://127.0.0.1:8000/runs/shoes?variations=2'    # of photos/shoes
    curl -N http://127.0.0.1:8000/runs/shoes                        # watch it
    curl -X DELETE http://127.0.0.1:8000/runs/shoes                 # end it in order

A run belongs to the service, not to who watches it: closing a browser's tab stops nothing, and
as many as like may watch. The same POST resumes. When the service ends, its runs end in order.
"""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any

import msgspec
from fastapi import FastAPI, HTTPException
from fastapi import Path as InPath
from fastapi.responses import StreamingResponse

from batch_reimagine import Progress, ReimagineError, Settings, Stop, key_of, reimagine

_EVERY_S = 0.5
Name = Annotated[str, InPath(pattern=r"^\w[\w-]{0,63}$")]  # of one folder: no way out of PHOTOS


@dataclass
class Job:
    """One run, and what those who watch it see."""

    progress: Progress = field(default_factory=Progress)
    stop: Stop = field(default_factory=Stop)
    finished: list[str] = field(default_factory=list)  #: outputs and failures, in their order
    error: str | None = None
    task: asyncio.Task[None] | None = None

    @property
    def running(self) -> bool:
        return self.task is not None and not self.task.done()

    async def run(self, photos: Path, out: Path, settings: Settings, key: str) -> None:
        door = reimagine(photos, out, settings, key=key, progress=self.progress, stop=self.stop)
        try:
            async for record in door:
                self.finished.append(record.output or f"{record.source}: {record.reason}")
        except ReimagineError as error:
            self.error = str(error)  # what, why and the way out; never the key

    def told(self, since: int) -> dict[str, Any]:
        """Counts, and what is new since so many were told."""
        counts = self.progress
        return {
            "running": self.running,
            "photos": counts.photos_total,
            "here": counts.here,
            "made": counts.made,
            "failed": counts.failed,
            "in_flight": counts.in_flight,
            "spent": counts.spent,
            "new": self.finished[since:],
            "error": self.error,
        }


class Service:
    """The runs over one folder of folders."""

    def __init__(self, photos: Path, out: Path, settings: Settings, key: str) -> None:
        self._photos, self._out = photos, out
        self._settings, self._key = settings, key
        self._jobs: dict[str, Job] = {}

    async def begin(self, name: Name, variations: int = 1) -> dict[str, str]:
        folder, out = self._photos / name, self._out / name
        if not await asyncio.to_thread(folder.is_dir):
            raise HTTPException(404, f"there is no folder {name}")
        if name in self._jobs and self._jobs[name].running:
            raise HTTPException(409, f"{name} is being made: watch it with GET")
        try:
            wanted = replace(self._settings, variations=variations)
        except ReimagineError as error:
            raise HTTPException(422, str(error)) from None
        job = self._jobs[name] = Job()
        job.task = asyncio.create_task(job.run(folder, out, wanted, self._key))
        return {"watch": f"/runs/{name}"}

    async def watch(self, name: Name) -> StreamingResponse:
        return StreamingResponse(_lines(self._of(name)), media_type="application/x-ndjson")

    async def end(self, name: Name) -> dict[str, Any]:
        job = self._of(name)
        job.stop.request("asked to")
        if job.task is not None:
            await asyncio.wait([job.task])
        return job.told(len(job.finished))

    @asynccontextmanager
    async def lifespan(self, _: FastAPI) -> AsyncIterator[None]:
        yield
        for name in self._jobs:
            await self.end(name)

    def _of(self, name: str) -> Job:
        if name not in self._jobs:
            raise HTTPException(404, f"{name} was not begun: POST does")
        return self._jobs[name]


async def _lines(job: Job) -> AsyncIterator[bytes]:
    since = 0
    while True:
        told = job.told(since)
        since += len(told["new"])
        yield msgspec.json.encode(told) + b"\n"
        if not told["running"] or job.task is None:
            return
        await asyncio.wait([job.task], timeout=_EVERY_S)


def make_app(photos: Path, out: Path, settings: Settings, key: str = "") -> FastAPI:
    """The service, ready to be served."""
    service = Service(photos, out, settings, key)
    app = FastAPI(lifespan=service.lifespan)
    app.post("/runs/{name}", status_code=202)(service.begin)
    app.get("/runs/{name}")(service.watch)
    app.delete("/runs/{name}")(service.end)
    return app


def app() -> FastAPI:
    """As the environment has it; without PROVIDER the free simulator plays the service."""
    settings = Settings(provider=os.environ.get("PROVIDER", "simulator"))
    return make_app(
        Path(os.environ.get("PHOTOS", "photos")),
        Path(os.environ.get("OUT", "out")),
        settings,
        key_of(settings, os.environ),  # the provider's own, and no other's
    )
