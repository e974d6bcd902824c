"""The page's server: on loopback alone, everything it serves is in this folder, and nothing outlives it.

`GET /` is the page, `GET /start` its controls for a preset, `POST /simulate` answers with lines of JSON (the preview,
progress, the full run with how far the preview was off), `POST /scenario` with the scenario as a file.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from collections import OrderedDict
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from scenarios.errors import ScenarioError
from sim import shown
from sim.execution import SimulationError
from sim.explore import asked as asking
from sim.explore import controls
from sim.explore.answer import off
from sim.explore.ask import LAST, Question, Simulator
from sim.explore.asked import Asked
from sim.explore.presets import presets
from sim.store import CalibrationError

STATIC = Path(__file__).parent / "static"
HOST = "127.0.0.1"
#: A slider that moves on within this time has not asked for the full run.
SETTLE_S = 0.15
#: Full runs that are remembered, the last ones used.
_KEPT = 64
#: A start that takes longer is explained.
_LONG_S = 5.0
_HEADERS = {
    "Content-Security-Policy": "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:",
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
}

Told = dict[str, Any]


class Explorer:
    """What the server knows: the scenario it was started with, its two simulating processes, who asks what."""

    def __init__(self, file: Path, sets: tuple[str, ...], calibration: str | None) -> None:
        """Nothing is started yet.

        Args:
            file: The scenario.
            sets: `--set` texts, for this scenario only.
            calibration: Of the command line, for this scenario only.
        """
        self._presets = presets(file)
        self._sets, self._calibration = sets, calibration
        # Previews do not wait until a full run has let go.
        self.previews, self.runs = Simulator(), Simulator()
        self._kept: OrderedDict[Asked, Told] = OrderedDict()
        self._current: dict[str, _Session] = {}

    async def begin(self) -> None:
        """Starts the processes, one after the other: what the first compiles, the second finds compiled.

        Raises:
            OSError: One does not start.
        """
        await self.previews.start()
        await self.runs.start()

    def close(self) -> None:
        """Ends every answer under way, so that no connection keeps the server from ending."""
        for session in list(self._current.values()):
            session.end()

    async def end(self) -> None:
        """Ends the processes."""
        await asyncio.gather(self.previews.stop(), self.runs.stop())

    def asked(self, said: Told) -> Asked:
        """A question out of what a page sent.

        Raises:
            ScenarioError: It is none.
        """
        key = said.get("preset", "")
        if key not in self._presets:
            raise ScenarioError(controls.PAGE, None, None, "preset", f"there is no {key!r}")
        own = key == ""
        calibration = self._calibration if own else None
        return asking.from_page(self._presets[key][1], self._sets if own else (), calibration, said)

    def start(self, preset: str) -> Told:
        """What a page begins with.

        Raises:
            ScenarioError: No such preset, or its scenario cannot be.
            CalibrationError: There is none for it.
        """
        asked = self.asked({"preset": preset})
        scenario, costs, _ = asking.understood(asked)
        return {
            "preset": preset,
            "presets": [{"key": key, "label": label} for key, (label, _) in self._presets.items()],
            "name": scenario.name,
            "file": str(asked.file),
            "controls": controls.described(scenario),
            "values": controls.values_of(scenario),
            "calibrations": asking.names(),
            "calibration": asked.calibration,
            "calibration_taken": costs.name,
        }

    async def simulate(self, said: Told) -> AsyncGenerator[Told, None]:
        """The preview, progress, and the full run; a page's next question ends its last one."""
        page, mine = str(said.get("page", "")), _Session()
        if page in self._current:
            self._current[page].end()
        self._current[page] = mine
        try:
            asked = self.asked(said)
            mine.question = await self.previews.ask(asked, preview=True)
            preview = await mine.question.answer()
            yield preview
            if preview["kind"] != "preview":
                return
            if preview["whole"]:  # it is so short that the preview was all of it
                yield preview | {"kind": "full", "off": None}
                return
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(mine.over.wait(), SETTLE_S)
                return
            kept = self._kept.get(asked)
            if kept is not None:
                self._keep(asked, kept)
                yield kept | {"off": off(preview, kept)}
                return
            mine.question = await self.runs.ask(asked, preview=False, anyway=said.get("anyway") is True)
            told: Told = {"kind": ""}
            while told["kind"] not in LAST:
                told = await mine.question.answer()
                if told["kind"] == "full":
                    self._keep(asked, told)
                    told = told | {"off": off(preview, told)}
                yield told
        except ScenarioError as error:
            yield {"kind": "wrong", "message": str(error), "keys": [e.key for e in (error, *error.more)]}
        except OSError as error:
            yield {"kind": "wrong", "message": str(error), "keys": []}
        finally:
            mine.end()
            if self._current.get(page) is mine:
                del self._current[page]

    def _keep(self, asked: Asked, full: Told) -> None:
        self._kept[asked] = full
        self._kept.move_to_end(asked)
        while len(self._kept) > _KEPT:
            self._kept.popitem(last=False)


class _Session:
    """A page's question, from its preview to its full run."""

    def __init__(self) -> None:
        self.over = asyncio.Event()
        self.question: Question | None = None

    def end(self) -> None:
        """Nobody waits for it any more."""
        self.over.set()
        if self.question is not None:
            self.question.withdraw()


def application(explorer: Explorer, ready: Callable[[], None], failed: Callable[[OSError], None]) -> Starlette:
    """The server's application.

    Args:
        explorer: What answers.
        ready: Called once both processes are up.
        failed: Called where one does not come up.
    """

    async def page(_: Request) -> Response:
        return FileResponse(STATIC / "index.html", headers=_HEADERS)

    async def start(request: Request) -> Response:
        try:
            return JSONResponse(await asyncio.to_thread(explorer.start, request.query_params.get("preset", "")))
        except (ScenarioError, CalibrationError) as error:
            return PlainTextResponse(str(error), status_code=400)

    async def simulate(request: Request) -> Response:
        said = await _said(request)
        if isinstance(said, Response):
            return said

        async def lines() -> AsyncIterator[str]:
            async with aclosing(explorer.simulate(said)) as answers:
                async for told in answers:
                    yield json.dumps(told) + "\n"

        return StreamingResponse(lines(), media_type="application/x-ndjson", headers=_HEADERS)

    async def scenario(request: Request) -> Response:
        said = await _said(request)
        if isinstance(said, Response):
            return said
        try:
            return PlainTextResponse(await asyncio.to_thread(lambda: asking.as_yaml(explorer.asked(said))))
        except (ScenarioError, CalibrationError) as error:
            return PlainTextResponse(str(error), status_code=400)

    async def begin() -> None:
        starting = asyncio.create_task(explorer.begin())
        try:
            done, _ = await asyncio.wait({starting}, timeout=_LONG_S)
            if not done:
                shown.say_all(["compiling the simulator's loop into its cache; it takes a minute or two, once"])
            await starting
        except OSError as error:
            failed(error)
        else:
            ready()
        finally:
            starting.cancel()

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        # Not waited for: an interruption is heard meanwhile.
        beginning = asyncio.create_task(begin())
        try:
            yield
        finally:
            beginning.cancel()
            await explorer.end()

    return Starlette(
        routes=[
            Route("/", page),
            Route("/start", start),
            Route("/simulate", simulate, methods=["POST"]),
            Route("/scenario", scenario, methods=["POST"]),
            Mount("/static", StaticFiles(directory=STATIC)),
        ],
        # A page from elsewhere whose name was made to mean this host is not answered.
        middleware=[Middleware(TrustedHostMiddleware, allowed_hosts=[HOST, "localhost"])],
        lifespan=lifespan,
    )


async def _said(request: Request) -> Any:
    """The object that a page sent, or the response that refuses it."""
    # A page from elsewhere may send only forms without asking first, so what is not JSON is not from ours.
    if request.headers.get("content-type", "").partition(";")[0] != "application/json":
        return PlainTextResponse("expected application/json", status_code=415)
    try:
        said = json.loads(await request.body())
    except ValueError as error:
        return PlainTextResponse(f"not JSON: {error}", status_code=400)
    return said if isinstance(said, dict) else PlainTextResponse("expected an object", status_code=400)


def listening(port: int) -> socket.socket:
    """A socket on loopback; a port of 0 is any free one.

    Raises:
        ScenarioError: The port is taken or may not be had.
    """
    found = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        found.bind((HOST, port))
    except OSError as error:
        found.close()
        raise ScenarioError("--port", None, None, str(port), f"{error.strerror}; --port 0 takes any free one") from None
    found.listen(128)
    return found


def serve(explorer: Explorer, port: int, ready: Callable[[str], None]) -> None:
    """Serves until it is interrupted.

    Args:
        explorer: What answers.
        port: On loopback; 0 for any free one.
        ready: Called with the address when the page can be opened.

    Raises:
        ScenarioError: The port cannot be had.
        SimulationError: The processes that simulate do not come up.
        KeyboardInterrupt: It was interrupted; everything it started has ended.
    """
    import uvicorn

    class Server(uvicorn.Server):
        def handle_exit(self, sig: int, frame: FrameType | None) -> None:
            loop.call_soon_threadsafe(explorer.close)  # a signal comes in the middle of anything
            super().handle_exit(sig, frame)

    failures: list[OSError] = []

    def failed(error: OSError) -> None:
        failures.append(error)
        server.should_exit = True

    with listening(port) as found:
        address = f"http://{HOST}:{found.getsockname()[1]}/"
        app = application(explorer, lambda: ready(address), failed)
        config = uvicorn.Config(app, log_level="warning", access_log=False, timeout_graceful_shutdown=1, lifespan="on")
        server = Server(config)
        with asyncio.Runner() as runner:
            loop = runner.get_loop()
            runner.run(server.serve(sockets=[found]))
    if failures:
        raise SimulationError(str(failures[0]))
