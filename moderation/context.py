"""What is known of sender, recipient and channel, as named yes/no facts for rules, and the sender's tier.

A missing field makes a fact false and its opposite false too: unknown is never "new", "poor" or "a stranger".
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Literal, get_args

from msgspec import Struct

from moderation.events import Channel, ChatEvent

Tier = Literal["vip", "paying", "new", "established"]
TIERS: Final[tuple[Tier, ...]] = get_args(Tier)

#: Channels that strangers read.
PUBLIC: Final = frozenset({"world", "horn", "trade", "nearby", "cross_server"})


class Bounds(Struct, frozen=True):
    """Where new ends and VIP begins; set in policy.yaml. Levels and VIP are the game's own, ages are days."""

    vip_at_least: int = 8
    new_age_days: int = 3
    new_level: int = 20
    established_days: int = 30


def is_paying(event: ChatEvent) -> bool:
    """Tell whether the sender is known to have paid."""
    return bool(event.sender.vip) or bool(event.sender.total_recharge)


def is_new(event: ChatEvent, bounds: Bounds) -> bool:
    """Tell whether the sender is known to be new, by account age or by level."""
    age, level = event.age_days, event.sender.level
    return (age is not None and age <= bounds.new_age_days) or (level is not None and level <= bounds.new_level)


def is_settled(event: ChatEvent, bounds: Bounds) -> bool:
    """Tell whether the sender is known not to be new. Of whom neither age nor level is known, nothing is known."""
    known = event.age_days is not None or event.sender.level is not None
    return known and not is_new(event, bounds)


def tier(event: ChatEvent, bounds: Bounds) -> Tier:
    """Place the sender: vip, paying, new, or established. Someone of whom nothing is known is established."""
    if (event.sender.vip or 0) >= bounds.vip_at_least:
        return "vip"
    if is_paying(event):
        return "paying"
    return "new" if is_new(event, bounds) else "established"


def same_guild(event: ChatEvent) -> bool:
    """Tell whether sender and recipient are known to be in one guild, or the channel is the guild's own."""
    if event.channel == "guild":
        return True
    ours = event.sender.guild_id
    return bool(ours) and event.recipient is not None and event.recipient.guild_id == ours


def _private(event: ChatEvent) -> bool:
    return event.channel == "private"


def _not_friend(event: ChatEvent) -> bool:
    known_friend = event.recipient is not None and event.recipient.is_friend is True
    return _private(event) and not known_friend and not same_guild(event)


def _stranger(event: ChatEvent) -> bool:
    return _private(event) and event.recipient is not None and event.recipient.is_friend is False


def _to_vip(event: ChatEvent, bounds: Bounds) -> bool:
    return event.recipient is not None and (event.recipient.vip or 0) >= bounds.vip_at_least


def _old(event: ChatEvent, bounds: Bounds) -> bool:
    age = event.age_days
    return age is not None and age >= bounds.established_days


Fact = Callable[[ChatEvent, Bounds], bool]
#: The channels in which a fact can hold, for those facts that a channel decides.
CHANNELS_OF: Final[dict[str, frozenset[str]]] = {
    **{name: frozenset({name}) for name in get_args(Channel)},
    "public": PUBLIC,
    **dict.fromkeys(("not_friend", "stranger"), frozenset({"private"})),
}


def _in_channel(name: str) -> Fact:
    return lambda event, _: event.channel == name


#: Every context a rule may name, in the order the handbook lists them.
FACTS: Final[dict[str, Fact]] = {
    **{name: _in_channel(name) for name in get_args(Channel)},
    "public": lambda event, _: event.channel in PUBLIC,
    "same_guild": lambda event, _: same_guild(event),
    "not_friend": lambda event, _: _not_friend(event),
    "stranger": lambda event, _: _stranger(event),
    "to_vip": _to_vip,
    "new": is_new,
    "low_level": lambda event, b: event.sender.level is not None and event.sender.level <= b.new_level,
    "old_account": _old,
    "paying": lambda event, _: is_paying(event),
    "vip": lambda event, b: (event.sender.vip or 0) >= b.vip_at_least,
    "in_guild": lambda event, _: bool(event.sender.guild_id or event.sender.guild),
    "preset": lambda event, _: event.text_type == "preset",
    "voice": lambda event, _: event.text_type == "voice_asr",
}
