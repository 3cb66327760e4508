"""Who talks: players with stable attributes, and offenders, mostly new accounts that hide among them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from console.phrases import GAMES, Phrases, pick
from console.phrases.disguise import carrier, fake_handle
from moderation.events import Sender

if TYPE_CHECKING:
    from console.phrases import Draw, Pitch

_DAY_MS: Final = 86_400_000
_GUILDS_PER_SERVER: Final = 40
#: A whale, as the default policy means it: sanctions on them wait for a human.
WHALE_VIP: Final = 8


class Person(NamedTuple):
    """An account where it plays."""

    sender: Sender
    server: str
    game: str


class Offender(NamedTuple):
    """An account with something to sell: what, by which handle ("" = none), and whether its name carries that."""

    person: Person
    pitch: Pitch
    kind: str
    value: str
    named: bool


class Account(NamedTuple):
    """What an account is worth: days old, level, VIP level, money ever paid (元)."""

    age: float
    level: int
    vip: int
    paid: float


class People:
    """All accounts of all servers. Each server runs one game; each other server reports an account's birth, not age."""

    def __init__(self, draw: Draw, *, players: int, servers: int, start_ms: int) -> None:
        self._draw = draw
        self._start = start_ms
        self._accounts = 0
        self.phrases = {game: Phrases(game, draw) for game in GAMES}
        self.servers = [f"s{1 + number}" for number in range(servers)]
        self._game = {server: GAMES[number % len(GAMES)] for number, server in enumerate(self.servers)}
        self._guilds = {server: self._found(server) for server in self.servers}
        self.players = [self._player(self.servers[number % servers]) for number in range(players)]
        self.by_server = {s: [person for person in self.players if person.server == s] for s in self.servers}
        self.whales = {s: [p for p in crowd if (p.sender.vip or 0) >= WHALE_VIP] for s, crowd in self.by_server.items()}

    def offender(self, pitch: Pitch, server: str, kind: str, value: str) -> Offender:
        """Open an account to offend with: three quarters are new, the others established, a few paying."""
        name = carrier(self._draw, kind, value) if value and self._draw() < 0.08 else None
        chance = self._draw()
        account = self._newcomer() if chance < 0.75 else self._veteran(paying=chance > 0.93)
        return Offender(self._person(server, account, name), pitch, kind, value, name is not None)

    def gang(self, pitch: Pitch, size: int) -> list[Offender]:
        """Open `size` new accounts with one handle, on two to five servers; some share a device and an address."""
        draw = self._draw
        kind = pick(draw, pitch.handles)
        value = fake_handle(draw, kind)
        first = int(draw() * len(self.servers))
        spread = min(len(self.servers), 2 + int(draw() * 4))
        homes = [self.servers[(first + step) % len(self.servers)] for step in range(spread)]
        shared = [(self._device(), self._address()) for _ in range(1 + size // 3)]
        return [self._member(pitch, homes[n % spread], kind, value, pick(draw, shared)) for n in range(size)]

    def _member(self, pitch: Pitch, server: str, kind: str, value: str, machine: tuple[str, str]) -> Offender:
        name = carrier(self._draw, kind, value) if self._draw() < 0.08 else None
        pitch = next(p for p in self.phrases[self._game[server]].pitches if p.label == pitch.label)
        person = self._person(server, self._newcomer(), name, machine)
        return Offender(person, pitch, kind, value, name is not None)

    def _player(self, server: str) -> Person:
        chance = self._draw()
        return self._person(server, self._newcomer() if chance < 0.08 else self._veteran(paying=chance > 0.55))

    def _newcomer(self) -> Account:
        draw = self._draw
        paid = 6.0 if draw() < 0.1 else 0.0
        return Account(round(draw() * 3, 2), 1 + int(draw() * 15), 1 if paid else 0, paid)

    def _veteran(self, *, paying: bool) -> Account:
        draw = self._draw
        age = round(4 + draw() ** 2 * 1500, 1)
        level = 15 + int(min(1.0, age / 200) * 60 + draw() * 40)
        if not paying:
            return Account(age, level, 0, 0.0)
        vip = WHALE_VIP + int(draw() * 8) if draw() < 0.03 else 1 + int(draw() ** 2 * 7)
        return Account(age, level, vip, float(round(6 * 2.2**vip * (1 + draw()))))

    def _person(
        self, server: str, account: Account, name: str | None = None, machine: tuple[str, str] | None = None
    ) -> Person:
        draw, game, number = self._draw, self._game[server], self._next_number()
        guild = pick(draw, self._guilds[server]) if account.age > 3 and draw() < 0.85 else None
        device, address = machine or (self._device(), self._address())
        born = int(server[1:]) % 2 == 0
        known = draw() < 0.9  # some clients, the web's above all, report neither device nor address
        sender = Sender(
            account_id=f"u{number:08x}",
            role_id=f"{server}-{number:08x}",
            name=name or self.phrases[game].nick(),
            level=account.level,
            vip=account.vip,
            account_age_days=None if born else account.age,
            account_created_at=self._start - int(account.age * _DAY_MS) if born else None,
            total_recharge=account.paid if draw() < 0.95 else None,
            guild_id=guild and guild[0],
            guild=guild and guild[1],
            guild_rank=("leader" if draw() < 0.02 else "member") if guild else None,
            device_id=device if known else None,
            ip=address if known else None,
        )
        return Person(sender, server, game)

    def _next_number(self) -> int:
        """Scatter account numbers (Knuth's multiplier is odd, so none comes twice in 2**32)."""
        self._accounts += 1
        return self._accounts * 2_654_435_761 % 2**32

    def _found(self, server: str) -> list[tuple[str, str]]:
        say = self.phrases[self._game[server]].guild
        return [(f"{server}-g{number}", say()) for number in range(_GUILDS_PER_SERVER)]

    def _device(self) -> str:
        return f"d{int(self._draw() * 2**40):010x}"

    def _address(self) -> str:
        """Make up an address of the private range 10.0.0.0/8."""
        bits = int(self._draw() * 2**24)
        return f"10.{bits >> 16}.{bits >> 8 & 255}.{bits & 255}"
