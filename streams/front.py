"""One port for several worker processes: what each says of itself over a socket of its own, asked when somebody asks.

/metrics   one page: streams/merge.py
/readyz    200 while every process moderates; which one does not, and why
/livez     200 while the arbiter runs, which itself replaces what ends or is silent, and no process says it is stuck
"""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from aiohttp import ClientError, ClientSession, ClientTimeout, UnixConnector, web
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

from streams.arbiter import SILENT_S
from streams.merge import Merged
from streams.metrics import of_processes

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterable
    from pathlib import Path

    from prometheus_client.metrics_core import Metric

    from streams.board import Board, Seat

#: A process that does not answer by then has not answered: probes wait for 3 s. Seconds.
ANSWER_WITHIN_S: Final = 2.0


class Answer(NamedTuple):
    """A page as a process gave it; status 0 is none."""

    status: int
    text: str


def page_of(home: Path, pid: int) -> Path:
    """Return the socket on which a process serves its pages."""
    return home / f"{pid}.sock"


class Front:
    """The pages for all who sit at `board`, whose sockets are in `home`."""

    def __init__(self, board: Board, home: Path) -> None:
        self._board = board
        self._home = home
        self._merged = Merged()

    async def metrics(self, _: web.Request) -> web.Response:
        """Answer with all processes' metrics as one page."""
        answers = await self._asked("/metrics")
        pages = {seat.pid: answer.text for seat, answer in answers if answer.status}
        merged = self._merged.merge(pages, {seat.pid for seat in self._board.workers})
        own = of_processes(len(answers), len(pages), self._board.restarts)
        body = generate_latest(_Page([*merged, *own]))
        return web.Response(body=body, headers={"Content-Type": CONTENT_TYPE_LATEST})

    async def readyz(self, _: web.Request) -> web.Response:
        """Answer whether all moderate."""
        reports = [_report(seat, answer) for seat, answer in await self._asked("/readyz")]
        reasons = [f"process {n}: {why}" for n, one in enumerate(reports, 1) for why in one["reasons"]]
        degraded = sorted({said for one in reports for said in one.get("degraded", ())})
        whole = {"ready": not reasons, "reasons": reasons, "degraded": degraded, "processes": reports}
        return web.json_response(whole, status=503 if reasons else 200)

    async def livez(self, _: web.Request) -> web.Response:
        """Answer whether only starting everything again can help."""
        stuck = [n for n, (_, answer) in enumerate(await self._asked("/livez"), 1) if answer.status == 503]
        alive = not stuck and self._board.arbiter.silent_s <= SILENT_S
        return web.json_response({"alive": alive, "stuck": stuck}, status=200 if alive else 503)

    async def _asked(self, page: str) -> list[tuple[Seat, Answer]]:
        seats = self._board.workers
        answers = await asyncio.gather(*(self._ask(seat.pid, page) for seat in seats))
        return list(zip(seats, answers, strict=True))

    async def _ask(self, pid: int, page: str) -> Answer:
        try:
            async with (
                ClientSession(
                    connector=UnixConnector(str(page_of(self._home, pid))),
                    timeout=ClientTimeout(total=ANSWER_WITHIN_S),
                ) as http,
                http.get(f"http://process{page}") as response,
            ):
                return Answer(response.status, await response.text())
        except (ClientError, OSError):  # TimeoutError is one; it is starting, stuck or gone
            return Answer(0, "")


def _report(seat: Seat, answer: Answer) -> dict[str, Any]:
    if not answer.status:
        return {"pid": seat.pid, "ready": False, "reasons": ["it does not answer"]}
    said: dict[str, Any] = json.loads(answer.text)
    return {"pid": seat.pid} | said


class _Page(CollectorRegistry):
    """Metrics as the library's writer wants them."""

    def __init__(self, metrics: Iterable[Metric]) -> None:
        super().__init__()
        self._metrics = metrics

    def collect(self) -> Iterable[Metric]:
        return self._metrics


async def serve_front(front: Front, listening: socket.socket, told: asyncio.Event) -> None:
    """Serve the pages on a socket that listens already, until `told`."""
    app = web.Application()
    app.add_routes(
        [web.get("/metrics", front.metrics), web.get("/livez", front.livez), web.get("/readyz", front.readyz)]
    )
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    await web.SockSite(runner, listening).start()
    await told.wait()
    await runner.cleanup()
