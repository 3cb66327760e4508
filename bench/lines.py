"""The chat that is measured: generated as it is, thinned to what real chat is like, all spam, made to be expensive."""

from __future__ import annotations

import time
from itertools import islice
from typing import TYPE_CHECKING, Final

import msgspec

from console.traffic import Traffic
from moderation.events import ChatEvent, Sender

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator


NOW: Final = 1_790_000_000_000
#: Of the generator's lines that look like abuse and are none, one in so many is kept: then a tenth of the lines has a
#: rule worth trying, as in real chat (4 to 11 % in five sets of it, 2026-11-21), instead of a third.
TRAPS_KEPT: Final = 5
#: Of the generator's lines, so that after the thinning one line in twenty is abuse.
ABUSE: Final = 0.03
#: Generated players speak at 80 lines a second: about one a minute each, so that honest ones flood nothing.
PLAYERS: Final = 5000
RATE: Final = 80.0
_PEOPLE: Final = "天地玄黄宇宙洪荒日月盈昃辰宿列张寒来暑往秋收冬藏"


def mix(count: int, *, seed: int = 7) -> list[ChatEvent]:
    """Return the first lines of `endless`, the same every time."""
    return list(islice(endless(seed), count))


def today(count: int, *, seed: int = 7) -> list[ChatEvent]:
    """Return the same lines dated from now on, for workers: what is of long ago makes no campaign."""
    return list(islice(endless(seed, time.time_ns() // 1_000_000), count))


def endless(seed: int = 7, start_ms: int = NOW, rate: float = RATE) -> Iterator[ChatEvent]:
    """Yield generated chat of which 95 % is clean, with as many traps as in real chat. The ids depend on the seed.

    `rate` lines a second are dated so; the traps that are left out leave their times empty.
    """
    traps = 0
    for line in Traffic(seed, players=PLAYERS, start_ms=start_ms, rate=rate, spam_share=ABUSE):
        traps += line.kind.startswith("trap")
        if not line.kind.startswith("trap") or traps % TRAPS_KEPT == 0:
            yield line.event


def ordinary(seed: int = 7) -> Iterator[ChatEvent]:
    """Yield generated chat as it comes: one line in twenty is abuse, a third is made to look like it."""
    return (line.event for line in Traffic(seed, players=PLAYERS, start_ms=NOW, rate=RATE))


def spam(seed: int = 7) -> Iterator[ChatEvent]:
    """Yield the abusive lines of generated chat, and nothing else."""
    traffic = Traffic(seed, players=PLAYERS, start_ms=NOW, rate=RATE, spam_share=1.0)
    return (line.event for line in traffic if line.abusive)


def dear(number: int) -> dict[str, str]:
    """Return texts made to be expensive, each of them new."""
    mark = "".join(chr(0x4E00 + (number * 7919 + at) % 20_000) for at in range(4))
    return {
        "one rare character": mark + "龘" * 512,
        "combining marks": mark + "a" + "\u0301\u0316" * 700,
        "swelling ligature": mark + "\ufdfa" * 512,
        "new rare characters": "".join(chr(0x4E00 + (number * 31 + at * 97) % 20_900) for at in range(512)),
        "hex": mark + "".join(f"{(number * 2654435761 + at) & 0xFFFF:04x}" for at in range(500)),
        "digits": mark + f"{number:04d}" * 500,
        "torn apart": " ".join(f"{mark}加微信出金卖" * 80)[:2048],
        "terms": (mark + "代练出金加微信qq群收人转会费托管" * 100)[:2048],
        "emoji": mark + "👨‍👩‍👧‍👦" * 180,
    }


def said(text: str, number: int, account: str | None = None) -> ChatEvent:
    """Return the event of a text; of forty accounts in turn where none is named."""
    sender = Sender(account or f"a{number % 40}", level=1, device_id=f"d{number % 50}")
    return ChatEvent(f"x{number}", NOW + number, "s1", "world", sender, text)


def invented(number: int, ts: int) -> ChatEvent:
    """Return a message of which nothing was seen before, nor of its sender; one in five is an advert."""
    unique = f"{number:07d}"
    name = "".join(_PEOPLE[int(digit)] for digit in unique)
    if number % 5 == 0:
        text = f"出金加QQ 7{unique}1" if number % 2 else f"代练上分 微信 wx{unique}abc 包满意"
    elif number % 50 == 1:
        text = "".join(chr(0x4E00 + (number * 31 + at * 97) % 20_900) for at in range(256))
    else:
        text = f"今晚{name}打本，还差{number % 9}个"
    sender = Sender(f"fake-{unique}", level=1, name=name, device_id=f"dev-{unique}", signature=f"sig {unique}")
    return ChatEvent(f"h{unique}", ts, "s1", "world", sender, text)


def in_turn(events: Iterable[ChatEvent], accounts: int) -> Iterator[ChatEvent]:
    """Let so many accounts say the events, one after the other."""
    for number, event in enumerate(events):
        sender = msgspec.structs.replace(event.sender, account_id=f"m{number % accounts}")
        yield msgspec.structs.replace(event, sender=sender)


def key_value(event: ChatEvent) -> tuple[bytes, bytes]:
    """Return the record of an event, keyed by sender."""
    return event.sender.account_id.encode(), msgspec.json.encode(event)
