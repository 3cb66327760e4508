"""The demo: a broker, a store, a worker and a pretend game server in one process, and made-up chat for them.

Everything between is the real thing: chat goes through Kafka, the worker is the one that runs in production, the game
server is the reference consumer, and the appeal is opened and granted by the code behind `qingliu appeals`.
"""

from __future__ import annotations

import asyncio
import io
import logging
import os
import signal
import sys
import time
from collections import deque
from contextlib import asynccontextmanager, suppress
from itertools import takewhile
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec
import structlog
from aiokafka import AIOKafkaProducer
from pydantic import SecretStr
from rich.live import Live

from console import Unreachable, appeals, revert
from console.board import Board, line, screen, summary
from console.show import deed, printer, visible
from console.traffic import Traffic, load, rebase
from console.words import say
from streams.applier import Applier, InMemoryGame, now_ms, run
from streams.settings import KafkaSasl, KafkaTls
from streams.worker import EMBEDDED_SESSION_S, running, servers

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Coroutine, Iterator
    from pathlib import Path

    from moderation.actions import Ack, Action
    from moderation.events import ChatEvent
    from streams.embedded import Embedded
    from streams.settings import Settings
    from streams.worker import Worker

DEFAULT_RATE: Final = 500
#: Of made-up chat: players speak about once a minute, but a demo must start at once.
MOST_PLAYERS: Final = 30_000
#: One record in so many is broken on purpose: dead letters must be seen.
BROKEN_EVERY: Final = 300
#: The appeal is granted for the first punishment after this share of the run, or so many seconds.
APPEAL_SHARE: Final = 0.3
APPEAL_S: Final = 4.0
#: After the chat has ended: how long nothing may move before we give up waiting for the rest.
DRAIN_S: Final = 5.0
#: How long the made-up game waits to send chat together: 500 requests a second would cost more than the judging.
LINGER_MS: Final = 10
FRAME_S: Final = 0.25
GOODBYE_S: Final = 2.0
FAILED: Final = 3
_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)


class Script(NamedTuple):
    """What is played: for how long (None: until told), how fast (None: `file` at its own pace), and from where."""

    seconds: float | None
    rate: float | None
    file: Path | None
    seed: int

    def events(self) -> Iterator[ChatEvent]:
        """Yield the chat, in event time from now."""
        if self.file is None:
            return rebase((spoken.event for spoken in self._traffic()), now_ms())
        events = rebase(load(self.file), now_ms())
        return events if self.rate is None else _paced(events, now_ms(), self.rate)

    def check(self) -> None:
        """Read the whole file, so that a line that is no event is told before anything is started."""
        deque(load(self.file) if self.file else (), maxlen=0)

    def _traffic(self) -> Traffic:
        rate = self.rate or DEFAULT_RATE
        return Traffic(self.seed, players=int(min(MOST_PLAYERS, 60 * rate)), start_ms=now_ms(), rate=rate)


def _paced(events: Iterator[ChatEvent], start_ms: int, rate: float) -> Iterator[ChatEvent]:
    for number, event in enumerate(events):
        yield msgspec.structs.replace(event, ts=start_ms + int(number * 1000 / rate))


class Log(io.TextIOBase):
    """The last lines of all logs, instead of on the display; what is critical goes to stderr as well."""

    def __init__(self) -> None:
        self.lines: deque[str] = deque(maxlen=12)

    def write(self, text: str) -> int:
        """Take what a logger writes."""
        self.lines += text.splitlines()
        if '"critical"' in text:  # the process may be about to leave without a word
            sys.stderr.write(text)
        return len(text)

    def listen(self) -> None:
        """Catch our logs, the libraries', and warnings."""
        structlog.configure(
            processors=[
                structlog.processors.add_log_level,
                structlog.processors.format_exc_info,
                structlog.processors.JSONRenderer(),
            ],
            wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
            logger_factory=structlog.PrintLoggerFactory(self),  # type: ignore[arg-type]  # it only writes
        )
        logging.basicConfig(level=logging.WARNING, stream=self, force=True)
        logging.captureWarnings(capture=True)


class Game(Applier):
    """The pretend game server: applies every action, puts it on the board, and says who may appeal."""

    def __init__(self, board: Board, appeal_after_s: float) -> None:
        super().__init__(InMemoryGame())
        self._board = board
        self._appeal_after_s = appeal_after_s
        self.punished: asyncio.Future[Action] = asyncio.Future()

    def apply(self, action: Action, now_ms: int) -> Ack:
        """Apply it for real, and note it."""
        ack = super().apply(action, now_ms)
        self._board.applied(action, ack)
        if ack.status == "applied" and action.action != "revert":
            self._may_appeal(action)
        elif ack.status == "applied" and action.reverts:
            self._board.reverted = True
        return ack

    def _may_appeal(self, action: Action) -> None:
        if not self.punished.done() and self._board.elapsed() >= self._appeal_after_s:
            self.punished.set_result(action)


async def play(settings: Settings, script: Script, *, json: bool) -> int:
    """Run the demo; return the exit code. The report is the last thing on stdout.

    Raises SettingsError for a file with a bad line, what a worker raises before it starts, and Unreachable if it is not
    ready in time.
    """
    log, err = Log(), printer(stderr=True)
    log.listen()
    script.check()
    err.print(say("启动内嵌的 Kafka 和 Redis…", "starting the embedded broker and store…"))
    async with servers(_embedded(settings)) as (chosen, kafka, redis, pair):
        if pair is None:
            raise AssertionError("settings without addresses have embedded servers")
        show = Show(chosen.model_copy(update={"kafka": kafka, "redis": SecretStr(redis)}), script)
        async with meanwhile(show.serve()) as serving, running(chosen, kafka, redis) as worker:
            end = await show.perform(worker, serving, pair)
            _tell(show.board, end, log, json=json)
            if end.failed:
                os._exit(FAILED)  # without its broker a worker takes long to stop, and there is nothing left to lose
            err.print(say("收场…", "cleaning up…"))
    return int(show.board.report().unaccounted != 0)


def _tell(board: Board, end: End, log: Log, *, json: bool) -> None:
    if end.why:
        lines = [end.why, *(log.lines if end.failed else ())]
        printer(stderr=True).print(*map(visible, lines), sep="\n", soft_wrap=True)
    if json:
        sys.stdout.write(msgspec.json.encode(board.report()).decode() + "\n")
        sys.stdout.flush()
    else:
        printer().print(summary(board.report()))


def _embedded(settings: Settings) -> Settings:
    """Return settings that reach nobody's broker or store: made-up chat must not get there."""
    return settings.model_copy(
        update={"kafka": None, "redis": None, "kafka_tls": KafkaTls(), "kafka_sasl": KafkaSasl(), "metrics_port": 0}
    )


@asynccontextmanager
async def meanwhile(job: Coroutine[Any, Any, None]) -> AsyncIterator[asyncio.Task[None]]:
    """Run `job` while the context is open; it is cancelled at the end. Its error is for whoever awaits the task."""
    task = asyncio.create_task(job)
    try:
        yield task
    finally:
        for _ in range(2):  # a client says goodbye to its broker; if that is gone, not for long
            task.cancel()
            await asyncio.wait({task}, timeout=GOODBYE_S)


class End(NamedTuple):
    """Why the play ended, if not by itself or by being told, and whether that means that something broke."""

    why: str = ""
    failed: bool = False


class Show:
    """One performance, from the first event to the last outcome. `settings` say where broker and store are."""

    def __init__(self, settings: Settings, script: Script) -> None:
        self._settings = settings
        self._broker = (settings.kafka or "").removeprefix("kafka://")
        self._script = script
        self._told = asyncio.Event()
        self.board = Board()
        self.game = Game(self.board, min(APPEAL_S, (script.seconds or APPEAL_S / APPEAL_SHARE) * APPEAL_SHARE))
        for number in _SIGNALS:
            asyncio.get_running_loop().add_signal_handler(number, self._tell)

    async def perform(self, worker: Worker, serving: asyncio.Task[None], pair: Embedded) -> End:
        """Play until the end, and wait for what is under way."""
        events = self._script.events()
        try:
            await worker.wait_ready()
        except TimeoutError:
            raise Unreachable(say("worker 一直没有就绪", "the worker does not get ready")) from None
        self.board.begin(worker.metrics)
        async with meanwhile(self._display()), meanwhile(self._appeal()), meanwhile(self._chat(events)) as chat:
            end = await self._ending(chat, serving, worker, pair)
            self._told.set()
            if not end.failed:
                await chat
                await self._drain()
        return end

    async def serve(self) -> None:
        """Be the game server."""
        # a short session: the embedded broker's group waits half of one before it gives partitions
        await run(self._broker, self._settings.topics, self.game, session_timeout_s=EMBEDDED_SESSION_S / 2)

    def _tell(self) -> None:
        """End the play; whoever asks a second time does not wait for the rest of it."""
        self._told.set()
        for number in _SIGNALS:
            asyncio.get_running_loop().remove_signal_handler(number)

    async def _ending(
        self, chat: asyncio.Task[None], serving: asyncio.Task[None], worker: Worker, pair: Embedded
    ) -> End:
        """Wait for the first of all that may end a play, and say what it was."""
        crash = asyncio.ensure_future(worker.app.wait_until_stopped())
        told = asyncio.ensure_future(self._told.wait())
        ends: set[asyncio.Future[Any]] = {chat, serving, crash, told, pair.failed, pair.full}
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        crashed = crash.done()
        for waiting in (crash, told):
            waiting.cancel()
        if pair.failed.done():
            return End(pair.failed.result(), failed=True)
        if crashed:
            return End(say("worker 意外停止", "the worker ended by itself"), failed=True)
        if serving.done():
            return End(
                say("模拟游戏服意外停止", "the game server ended by itself") + f": {serving.exception()!r}", failed=True
            )
        return End(pair.full.result()) if pair.full.done() else End()

    # -- what goes on meanwhile

    async def _chat(self, events: Iterator[ChatEvent]) -> None:
        """Say every event at its time, until told, or the time is up. Each record delivered is counted."""
        producer = AIOKafkaProducer(bootstrap_servers=self._broker, linger_ms=LINGER_MS)
        until = now_ms() + 1000 * (self._script.seconds or 1e9)
        try:
            await producer.start()
            for number, event in enumerate(takewhile(lambda e: e.ts < until, events), 1):
                if not await self._due(event, number):
                    break
                for topic, key, value in self._records(event, number):
                    (await producer.send(topic, value, key)).add_done_callback(self._delivered)
            await producer.flush()
        finally:
            await producer.stop()

    async def _due(self, event: ChatEvent, number: int) -> bool:
        """Wait for the event's time, and let others run; False if the play is over."""
        if number % 50 == 0:
            await asyncio.sleep(0)
        if (early := event.ts - now_ms()) > 0:
            with suppress(TimeoutError):
                async with asyncio.timeout(early / 1000):
                    await self._told.wait()
        return not self._told.is_set()

    def _records(self, event: ChatEvent, number: int) -> Iterator[tuple[str, bytes, bytes]]:
        """Yield topic, key and value of the event; now and then one that is broken comes with it."""
        topics, key, value = self._settings.topics, event.sender.account_id.encode(), msgspec.json.encode(event)
        yield (topics.private if event.channel == "private" else topics.world), key, value
        if number % BROKEN_EVERY == 0:
            yield topics.world, key, value[: len(value) // 2]
        elif number % BROKEN_EVERY == BROKEN_EVERY // 2:
            yield topics.world, b"somebody-else", value

    def _delivered(self, future: asyncio.Future[Any]) -> None:
        if not future.cancelled() and future.exception() is None:
            self.board.produced += 1

    async def _appeal(self) -> None:
        """Appeal for one player, and grant it as a moderator would, once the ledger knows of the punishment."""
        action = await self.game.punished
        who, what = action.target.account_id, deed(action)
        self.board.appeal = say(f"申诉：{who} 的「{what}」，复核中…", f"appeal: {who}, {what}: under review…")
        while await revert.find(self._settings, action.action_id, who) is None:  # noqa: ASYNC110  the ledger calls nobody
            await asyncio.sleep(FRAME_S / 5)
        asked = await appeals.carry_out(self._settings, appeals.opening(action.action_id, who, "demo", "我没有违规"))
        if asked is None:
            return
        answer = appeals.answering(asked, "demo", "申诉通过", granted=True, reply="")
        await appeals.carry_out(self._settings, answer)
        self.board.appeal = say(f"申诉通过：{who} 的「{what}」已撤销", f"appeal granted: {who}, {what}: undone")

    async def _drain(self) -> None:
        """Wait until all that was said has its outcome, and the appeal its end; give up where nothing moves."""
        quiet_since = time.monotonic()
        while not (self.board.drained() and self.board.reverted >= self.game.punished.done()):
            if self.board.tick():
                quiet_since = time.monotonic()
            if time.monotonic() - quiet_since > DRAIN_S:
                return
            await asyncio.sleep(0.02)
        self.board.tick()

    async def _display(self) -> None:
        err = printer(stderr=True)
        if not (err.is_terminal and sys.stdout.isatty()) or err.is_dumb_terminal:
            while True:
                self.board.tick()
                err.print(line(self.board), soft_wrap=True)
                await asyncio.sleep(1)
        with Live(console=err, auto_refresh=False) as live:
            err.show_cursor()  # so that there is nothing to restore, however this process ends
            try:
                while True:
                    self._draw(live)
                    await asyncio.sleep(FRAME_S)
            finally:
                self._draw(live)

    def _draw(self, live: Live) -> None:
        self.board.tick()
        width, height = live.console.size
        title = say("清流演示 · Ctrl-C 结束", "Qingliu demo · Ctrl-C ends it")
        live.update(screen(self.board, f"{title} · {self.board.elapsed():.0f} s", width, height), refresh=True)
