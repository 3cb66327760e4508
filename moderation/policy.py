"""Policy: how many points make a verdict, and which step of which ladder a strike reaches. Data from policy.yaml."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final, Literal

from msgspec import Struct

from moderation.actions import Label
from moderation.band import Band
from moderation.context import Bounds, Tier
from moderation.events import Channel

FOREVER: Final = 0
_UNITS: Final = {
    **dict.fromkeys(("s", "秒"), 1),
    **dict.fromkeys(("m", "分", "分钟"), 60),
    **dict.fromkeys(("h", "小时"), 3600),
    **dict.fromkeys(("d", "天"), 86_400),
}
_WORDS: Final = {
    "撤回": "retract", "retract": "retract", "禁言": "mute", "mute": "mute", "影子禁言": "shadow", "shadow": "shadow",
    "封号": "ban", "ban": "ban", "转人工": "review", "review": "review",
}  # fmt: skip
_DURATION: Final = re.compile(r"(\d{1,6})\s*(秒|分钟?|小时|天|[smhd])")
_CHANNELS: Final = {
    "世界": "world", "私聊": "private", "公会": "guild", "队伍": "team", "交易": "trade", "喇叭": "horn",
    "附近": "nearby", "跨服": "cross_server",
}  # fmt: skip


class Step(Struct, frozen=True):
    """What one rung of a ladder does. Seconds; `FOREVER` = permanent; None = not part of this step."""

    retract: bool = False
    mute_s: int | None = None
    mute_scope: Literal["all"] | tuple[Channel, ...] = "all"
    shadow: bool = False
    ban_s: int | None = None
    review: bool = False

    @property
    def automatic(self) -> bool:
        """Tell whether this step does anything without a human."""
        return self.retract or self.mute_s is not None or self.ban_s is not None

    def words(self) -> tuple[str, ...]:
        """Say the step in Chinese, as a moderator reads it in a case."""
        out = ["撤回消息"] if self.retract else []
        if self.mute_s is not None:
            out.append(f"{'影子禁言' if self.shadow else '禁言'} {spell(self.mute_s)}")
        if self.ban_s is not None:
            out.append(f"封号 {spell(self.ban_s)}")
        return (*out, "转人工") if self.review else tuple(out)


def parse_step(text: str) -> Step:
    """Read a step as it stands in policy.yaml: parts joined by "+".

    >>> parse_step("撤回 + 禁言 1小时 @世界").mute_s
    3600

    Raises ValueError with a Chinese sentence for anything else.
    """
    values: dict[str, object] = {}
    for part in text.replace("＋", "+").split("+"):
        values |= _part(part.strip())
    return Step(**values)  # type: ignore[arg-type]  # _part makes only fields of Step


def _part(part: str) -> dict[str, object]:
    word, _, rest = part.partition(" ")
    kind = _WORDS.get(word)
    if kind is None:
        raise ValueError(f"看不懂处罚「{part}」，可写：撤回、禁言 1小时、影子禁言 10分钟、封号 7天、封号 永久、转人工")
    if kind in ("retract", "review"):
        return {kind: True}
    length, _, channels = rest.partition("@")
    seconds = _seconds(length.strip(), part)
    if kind == "ban":
        return {"ban_s": seconds}
    return {"mute_s": seconds, "shadow": kind == "shadow", "mute_scope": _scope(channels, part)}


def _seconds(length: str, part: str) -> int:
    if length in ("永久", "forever"):
        return FOREVER
    found = _DURATION.fullmatch(length)
    seconds = int(found[1]) * _UNITS[found[2]] if found else 0
    if not 0 < seconds <= 3650 * 86_400:
        raise ValueError(f"「{part}」缺少时长，可写：10分钟、1小时、7天、永久")
    return seconds


def _scope(channels: str, part: str) -> Literal["all"] | tuple[Channel, ...]:
    if channels.strip() in ("", "全部", "all"):
        return "all"
    names = [_CHANNELS.get(c.strip(), c.strip()) for c in channels.split("@")]
    if any(name not in _CHANNELS.values() for name in names):
        raise ValueError(f"「{part}」的频道看不懂，可写：{'、'.join(_CHANNELS)}")
    return tuple(names)  # type: ignore[arg-type]  # checked against the channel names above


def spell(seconds: int) -> str:
    """Spell a duration in Chinese, in its largest whole unit."""
    if seconds == FOREVER:
        return "永久"
    for size, unit in ((86_400, "天"), (3600, "小时"), (60, "分钟")):
        if seconds % size == 0:
            return f"{seconds // size}{unit}"
    return f"{seconds}秒"


class Ladder(Struct, frozen=True):
    """The steps a sender of each tier climbs, strike by strike; the last one stays."""

    name: str
    steps: Mapping[Tier, tuple[Step, ...]]

    def step(self, tier: Tier, number: int) -> Step:
        """Return step `number` (from 1) for a sender of `tier`."""
        steps = self.steps[tier]
        return steps[min(number, len(steps)) - 1]


class LabelPolicy(Struct, frozen=True):
    """How one label is judged: points for review and for action, the ladder, and what the player is told.

    One that `yields` names a message only where no other label does: a contact is what most offences are made with.
    `act_settled` is for who is known not to be new and leaves no contact: words alone are weaker evidence against them.
    """

    review: int
    act: int
    ladder: str
    reason: str
    yields: bool = False
    act_settled: int | None = None

    def bar(self, *, wary: bool) -> int:
        """Return the points from which on is acted; `wary`: a settled player who leaves no contact."""
        return self.act if self.act_settled is None or not wary else self.act_settled


class CampaignPolicy(Struct, frozen=True):
    """When accounts are a campaign, what becomes of its members, and for how long it is remembered.

    A campaign is reached by `accounts` distinct accounts within `window_s`, by `accounts_on_device` of one device in
    that time, by `accounts_ever` however slowly, or by one with a handle marked as bad. The values are domain practice
    (three accounts a day on one handle), not measured on real traffic. `accounts_ever` must not exceed `members`.

    A member is treated as if it stood on `step` of its label's ladder, or on the first where its own words would not
    have been enough to act.
    """

    accounts: int = 3
    window_s: int = 86_400
    accounts_on_device: int = 2
    accounts_ever: int = 10
    step: int = 2
    watched_s: int = 7 * 86_400  # before it is reached, since its last sighting
    kept_s: int = 30 * 86_400
    kept_bad_s: int = 180 * 86_400
    members: int = 500
    evidence: int = 200  # besides the first piece of every member


class AppealPolicy(Struct, frozen=True):
    """When appeals must be answered, and how often a rule may be overturned before it is left to humans.

    Of `at_least` messages that were appealed and answered within `window_days`, more than `overturned_percent` granted
    are too many. The reasons of the values stand in policy.yaml.
    """

    first_answer_h: int = 24
    final_answer_h: int = 72
    window_days: int = 30
    at_least: int = 20
    overturned_percent: int = 5


class Policy(Struct, frozen=True):
    """The whole of policy.yaml. `void_after_s`: an automatic action older than this is void for the game server.

    `breaker_per_minute`: in a minute of event time a worker acts on so many messages, the rest are for humans; 0 is
    no bound. `band` is that of rules without one. `disguises` are the points a hit loses that rests on a term found
    only in that disguise.
    """

    bounds: Bounds
    labels: Mapping[Label, LabelPolicy]
    ladders: Mapping[str, Ladder]
    void_after_s: int = 600
    case_due_h: int = 24
    breaker_per_minute: int = 0
    band: Band = Band()
    disguises: Mapping[str, int] = {}
    campaigns: CampaignPolicy = CampaignPolicy()
    appeals: AppealPolicy = AppealPolicy()
