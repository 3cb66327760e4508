"""Made-up chat that reads like the real thing, with the truth about each line: for the demo, benchmarks and load tests.

No text or handle is anyone's: numbers and ids are random, and where a range exists that nobody can have, from there
(see console/phrases/disguise.py). The wording is in console/phrases/*.toml.

The unit of making is the scene: one or more remarks of one or more people, some of them later. Remarks that are not
due yet wait in a heap, and each tick of event time speaks the first that is due or opens a new scene.
"""

from __future__ import annotations

from heapq import heappop, heappush
from itertools import islice
from random import Random
from typing import TYPE_CHECKING, Final, NamedTuple, get_args

from msgspec import Struct
from msgspec.structs import replace

from console.phrases import pick
from console.phrases.disguise import Ad, disguised, fake_handle, pieces, with_handle
from console.phrases.people import Offender, People, Person
from moderation.actions import Label
from moderation.errors import EventError, SettingsError
from moderation.events import ChatEvent, Recipient, decode_event

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from console.phrases import Pitch, Talk
    from moderation.events import Channel

LABELS: Final[frozenset[str]] = frozenset(get_args(Label))
#: The part of all abuse that gangs commit.
_GANG_SHARE: Final = 0.25
#: How often an offence is by an account nobody has seen before, and how many accounts offend in turn besides.
_FRESH: Final = 0.3
_OFFENDERS: Final = 300
#: Kinds of talk that players repeat until somebody answers.
_REPEATED: Final = frozenset({"trap_own_guild", "trap_lfg", "trap_trade"})


class Line(Struct, frozen=True):
    """One event and the truth about it.

    `kind` is "clean", a trap ("trap_…": clean, but looks like an offence) or a label. Every line of an abusive scene
    has its label, also the harmless first half of a split ad: count offenders, not lines. `campaign` names the gang,
    `handle` is "type:value", canonical, of what the line or its sender's name advertises, in part or in disguise.
    """

    event: ChatEvent
    kind: str
    campaign: str | None = None
    handle: str | None = None

    @property
    def abusive(self) -> bool:
        """Whether this is an offence."""
        return self.kind in LABELS


class _Remark(NamedTuple):
    """What will be said: `retry` is the client's message id where it sends one message again."""

    person: Person
    channel: Channel
    text: str
    kind: str
    recipient: Recipient | None = None
    handle: str | None = None
    campaign: str | None = None
    retry: str | None = None


#: Remarks with their delay after the first, in milliseconds.
_Scene = list[tuple[int, _Remark]]


class Traffic:
    """An endless iterator of lines, the same for the same arguments; event times never fall.

    `rate` is events per second of event time. Players speak about once a minute in games: take `players` ≥ 60 x `rate`
    where flood limits matter. `spam_share` holds over some ten thousand events and some minutes of event time, since
    gangs work for minutes. Ids depend on `seed` alone: another run into the same broker needs another seed.
    Cost: 10 to 13 µs of processor time an event (2026-11-21, one core of two, 5000 players).
    """

    def __init__(
        self,
        seed: int,
        *,
        players: int = 5000,
        servers: int = 8,
        spam_share: float = 0.05,
        start_ms: int,
        rate: float,
    ) -> None:
        if not (0 <= spam_share <= 1 and rate > 0 and 1 <= servers <= players):
            raise ValueError("traffic needs 0 <= spam_share <= 1, rate > 0 and 1 <= servers <= players")
        random = Random(seed)  # noqa: S311 - made-up chat must repeat, not surprise
        self._draw = random.random
        self._run = f"{random.getrandbits(48):012x}"
        self._start, self._step, self._share = start_ms, 1000 / rate, spam_share
        self._people = People(self._draw, players=players, servers=servers, start_ms=start_ms)
        self._offenders = [self._recruit() for _ in range(_OFFENDERS)]
        self._waiting: list[tuple[int, int, _Remark]] = []
        self._count = self._gangs = self._planned_by_gangs = self._planned_alone = self._scheduled = 0

    def __iter__(self) -> Iterator[Line]:
        return self

    def __next__(self) -> Line:
        now = self._start + int((self._count + self._draw()) * self._step)
        remark = heappop(self._waiting)[2] if self._waiting and self._waiting[0][0] <= now else self._open(now)
        self._count += 1
        return self._spoken(remark, now)

    def take(self, n: int) -> Iterator[Line]:
        """Yield the next `n` lines."""
        return islice(self, n)

    def _spoken(self, remark: _Remark, now: int) -> Line:
        person, channel, text, kind, recipient, handle, campaign, retry = remark
        event = ChatEvent(
            event_id=f"{self._run}-{self._count:x}",
            ts=now,
            server_id=person.server,
            channel=channel,
            sender=person.sender,
            text=text,
            recipient=recipient,
            client_msg_id=retry or f"m{self._count:x}",
            game_id=person.game,
        )
        return Line(event, kind, campaign, handle)

    def _open(self, now: int) -> _Remark:
        """Open the scene that the share of abuse asks for next, and return its first remark."""
        owed = self._share * self._count
        if self._planned_by_gangs < _GANG_SHARE * owed:
            raid = self._raid()
            self._planned_by_gangs += len(raid)
            self._schedule(raid, now)
        if self._planned_alone < (1 - _GANG_SHARE) * owed and self._draw() < max(0.25, self._share):
            scene = self._offence()
            self._planned_alone += len(scene)
        else:
            scene = self._everyday()
        self._schedule(scene[1:], now)
        return scene[0][1]

    def _schedule(self, scene: _Scene, now: int) -> None:
        for delay, remark in scene:
            self._scheduled += 1
            heappush(self._waiting, (now + delay, self._scheduled, remark))

    # ---- players ----

    def _everyday(self) -> _Scene:
        draw = self._draw
        person = pick(draw, self._people.players)
        talk: Talk = pick(draw, self._people.phrases[person.game].talk)
        if talk.scene != "line":
            return self._staged(talk, person)
        first = self._remark(person, talk)
        chance = draw()
        if chance > 0.05:
            return [(0, first)]
        if first.kind in _REPEATED:
            return [(at * (40_000 + int(draw() * 50_000)), first) for at in range(2 + int(draw() * 2))]
        if chance < 0.004:
            again = first._replace(kind="trap_retry", retry=f"r{self._count:x}")
            return [(0, again), (300, again), (800, again)]
        return [(0, first), (2000 + int(draw() * 8000), first._replace(text=talk.say()))]

    def _staged(self, talk: Talk, person: Person) -> _Scene:
        draw = self._draw
        if talk.scene == "vip":
            whales = self._people.whales[person.server]
            return [(0, self._remark(pick(draw, whales) if whales else person, talk))]
        first = self._remark(person, talk)
        if talk.scene == "split":
            steps = enumerate(first.text.split("/"))
            return [(at * (1200 + int(draw() * 2000)), first._replace(text=text)) for at, text in steps]
        # a crowd cheers in one place, each at their own time
        crowd = [pick(draw, self._people.by_server[person.server]) for _ in range(4 + int(draw() * 10))]
        return [(0, first), *((int(draw() * 10_000), first._replace(person=each)) for each in crowd)]

    def _remark(self, person: Person, talk: Talk) -> _Remark:
        channel = pick(self._draw, talk.channels)
        if channel == "private":
            return _Remark(person, channel, talk.say(), talk.kind, self._listener(person, friend=self._draw() < 0.85))
        if channel == "guild" and person.sender.guild is None:
            channel = "world"
        return _Remark(person, channel, talk.say(), talk.kind)

    def _listener(self, person: Person, *, friend: bool, whale: bool = False) -> Recipient:
        people = self._people
        crowd = people.whales[person.server] if whale else ()
        sender = pick(self._draw, crowd or people.by_server[person.server]).sender
        return Recipient(sender.account_id, sender.level, sender.vip, sender.guild_id, friend)

    # ---- offenders ----

    def _recruit(self) -> Offender:
        draw = self._draw
        server = pick(draw, self._people.servers)
        game = pick(draw, self._people.by_server[server]).game
        pitch: Pitch = pick(draw, self._people.phrases[game].pitches)
        kind = pick(draw, pitch.handles)
        return self._people.offender(pitch, server, kind, fake_handle(draw, kind) if draw() < pitch.contact else "")

    def _offence(self) -> _Scene:
        """Let an offender offend. Three in ten are new accounts that replace another, as banned ones are replaced."""
        at = int(self._draw() * len(self._offenders))
        if self._draw() < _FRESH:
            self._offenders[at] = self._recruit()
        offender = self._offenders[at]
        match offender.pitch.label:
            case "flood":
                return self._flood(offender)
            case "abuse":
                return [(delay, self._pitch(offender)) for delay in (0, 4000, 9000)[: 1 + int(self._draw() * 3)]]
            case _:
                return self._promotion(offender)

    def _flood(self, offender: Offender) -> _Scene:
        """Repeat one text, or two in turn, five to ten times within seconds."""
        first = self._pitch(offender)
        texts = (first.text, first.text if self._draw() < 0.6 else offender.pitch.say())
        gap = 400 + int(self._draw() * 2500)
        return [(n * gap, first._replace(text=texts[n % 2])) for n in range(5 + int(self._draw() * 6))]

    def _promotion(self, offender: Offender) -> _Scene:
        draw = self._draw
        first = self._pitch(offender)
        chance = draw()
        if first.channel == "private" and offender.pitch.label == "poaching":
            rest = [self._pitch(offender, "private") for _ in range(2 + int(draw() * 6))]
        elif offender.value and not offender.named and chance < 0.18:
            return self._split(offender, first)
        elif chance < 0.4:
            rest = [self._pitch(offender, first.channel) for _ in range(1 + int(draw() * 3))]
        else:
            rest = []
        return [(0, first), *((n * (8000 + int(draw() * 25_000)), each) for n, each in enumerate(rest, 1))]

    def _split(self, offender: Offender, first: _Remark) -> _Scene:
        ad = with_handle(self._draw, offender.pitch.say(), offender.kind, offender.value)
        gap = 1500 + int(self._draw() * 5000)
        return [(n * gap, first._replace(text=piece)) for n, piece in enumerate(pieces(self._draw, ad))]

    def _raid(self) -> _Scene:
        """Let a gang of 5 to 30 new accounts drop one handle in their own words, within one to four minutes."""
        draw = self._draw
        game = pick(draw, self._people.players).game
        pitch = pick(draw, [pitch for pitch in self._people.phrases[game].pitches if pitch.gangs])
        self._gangs += 1
        name = f"c{self._run}-{self._gangs}"
        lasts = 60_000 + draw() * 180_000
        members = self._people.gang(pitch, 5 + int(draw() * 26))
        speakers = [member for member in members for _ in range(1 + int(draw() * 1.6))]
        return [(int(draw() * lasts), self._pitch(each)._replace(campaign=name)) for each in speakers]

    def _pitch(self, offender: Offender, channel: Channel | None = None) -> _Remark:
        draw = self._draw
        person, pitch, kind, value, named = offender
        where = pick(draw, pitch.channels) if channel is None else channel
        if where == "guild" and person.sender.guild is None:
            where = "world"
        listener = None
        if where == "private":
            whale = draw() < (0.7 if pitch.label == "poaching" else 0.1)
            listener = self._listener(person, friend=False, whale=whale)
        handle = f"{kind}:{value}" if value else None
        return _Remark(person, where, self._wording(offender, named=named), pitch.label, listener, handle)

    def _wording(self, offender: Offender, *, named: bool) -> str:
        draw = self._draw
        if named:
            return self._people.phrases[offender.person.game].pointer()
        if offender.pitch.label in {"flood", "abuse"}:
            return offender.pitch.say()
        ad = Ad(offender.pitch.say())
        return disguised(draw, with_handle(draw, ad.pitch, offender.kind, offender.value) if offender.value else ad)


def load(path: Path) -> Iterator[ChatEvent]:
    """Yield the events of a FILE.jsonl, one a line; empty lines are skipped.

    Raises SettingsError, with the number of the line, at the first that is no chat event, or if there is no such file.
    """
    try:
        with path.open("rb") as lines:
            for number, line in enumerate(lines, 1):
                if line.strip():
                    yield _decoded(line.strip(), f"{path}:{number}")
    except OSError as exc:
        raise SettingsError(f"cannot read {path}: {exc.strerror}") from exc


def _decoded(line: bytes, where: str) -> ChatEvent:
    try:
        return decode_event(line, keyed=False)
    except EventError as exc:
        raise SettingsError(f"{where}: not a chat event ({exc})") from exc


def rebase(events: Iterable[ChatEvent], now_ms: int) -> Iterator[ChatEvent]:
    """Shift events in time so that the first is at `now_ms`; accounts keep the age they had."""
    shift: int | None = None
    for event in events:
        shift = now_ms - event.ts if shift is None else shift
        born = event.sender.account_created_at
        sender = event.sender if born is None else replace(event.sender, account_created_at=born + shift)
        yield replace(event, ts=event.ts + shift, sender=sender)
