"""Campaigns (团伙): accounts that drop the same handle, or say the same text with an offer, are dealt with as one.

    Finding ─ sighting ─▶ Sighting ─ place ─▶ Placed ──(ledger)──▶ Joined ─ Sweep ─▶ actions and cases

A sighting has keys: its handles, and its text with handles and numbers masked. A key belongs to one campaign for good:
the first sighting of it makes a campaign or, if another of its keys has one, brings its new keys along. Once enough
accounts are in, every member is due, earlier ones too; from then on whoever joins is due at once. Everything here is
arithmetic on values: streams/campaigns.py remembers, moderation/sweep.py decides what becomes of members.

Who never joins: whoever quotes or reports; a handle that is allowed; a handle without a live hit, unless a human marked
it as bad; what a client sends by itself; a handle in the guild's name, which its members did not choose.
"""

from __future__ import annotations

import re
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, get_args

import msgspec
from msgspec import Struct

from moderation import decide
from moderation.actions import Evidence, HandleType, RuleRef, Verdict
from moderation.context import tier
from moderation.fold import fold, squeeze

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from moderation.actions import Handle
    from moderation.context import Bounds
    from moderation.decide import Finding
    from moderation.policy import Policy

Mark = Literal["bad", "allowed"]
#: What crowds do without being a gang: 666, thanks, quarrels.
_NO_OFFER: Final = frozenset({"flood", "abuse"})
#: Handles of one message that are keys: a message of forty must not tie forty campaigns together.
MOST_KEYS: Final = 4
#: Letters a text must keep, once masked, to be a key: of Han and the like, or of any script.
LEAST_HAN: Final = 8
LEAST_LETTERS: Final = 16
#: Code points of a text that are kept as evidence, raw and folded.
MOST_TEXT: Final = 512
#: One says "see what my friend posts", the friend drops the number: on one device, so close together (event time).
DUET_MS: Final = 600_000

#: What is remembered of a key is written anew when it was seen again after so long, not every time.
RENEWED_MS: Final = 86_400_000

_MASKED: Final = re.compile(r"[\W\d_零〇一二三四五六七八九十百千万亿两]+")
_LATIN: Final = re.compile(r"[a-z]+")
#: A scrap of one or two characters at the end, there to make copies differ: behind an id, or two letters by themselves.
_SCRAP: Final = re.compile(r"(?:(?<=[0-9a-z])\W*[^\W0-9a-z]{1,2}|\W+[0-9a-z]{1,2})\W*$")


class Sighting(Struct, frozen=True, omit_defaults=True):
    """One message as a campaign remembers it. `keys`: handles first, then the text.

    `verdict` is what the message was worth alone; `suspect` says that alone it was worth joining. Without it, it joins
    only by a handle marked as bad.
    """

    event_id: str
    keys: tuple[str, ...]
    evidence: Evidence
    verdict: Verdict
    suspect: bool
    device_id: str | None = None
    ip: str | None = None
    channel_package: str | None = None
    rules: tuple[RuleRef, ...] = ()
    extra: dict[str, Any] | None = None

    @property
    def account_id(self) -> str:
        """Who said it."""
        return self.evidence.who.account_id

    @property
    def ts(self) -> int:
        """When it was said, ms."""
        return self.evidence.when.event

    @property
    def device(self) -> str | None:
        """The device as a key, free of whatever characters its id has."""
        return f"device:{_digest(self.device_id, 8)}" if self.device_id else None


def sighting(finding: Finding, bounds: Bounds, now: int) -> Sighting | None:
    """Return what a finding adds to a campaign; None, at once, for nearly all chat."""
    if finding.quoting or not (finding.handles or finding.hits) or finding.event.text_type in ("preset", "item_link"):
        return None
    live = tuple(hit for hit in finding.hits if hit.status != "shadow" and hit.label not in _NO_OFFER)
    event, rank = finding.event, tier(finding.event, bounds)
    handles = dict.fromkeys(handle_key(h.type, h.value) for h in finding.handles if h.field != "guild")
    # a phrase that a rule takes for a little suspicious is said by crowds of honest players: they prove nothing
    worth = finding.sure or finding.verdict
    telling = worth == "act" or (worth == "review" and (handles or rank == "new"))
    text = script(finding.folded, finding.handles) if live and telling else ""
    keys = (*list(handles)[:MOST_KEYS], *([f"text:{_digest(text, 8)}"] if text else []))
    if not keys:
        return None
    return Sighting(
        event_id=event.event_id,
        keys=keys,
        evidence=decide.evidence(finding, rank, now, most=MOST_TEXT),
        verdict=_alone(finding),
        suspect=bool(live),
        device_id=event.sender.device_id,
        ip=event.sender.ip,
        channel_package=event.channel_package,
        rules=tuple(RuleRef(hit.rule, hit.revision, hit.weight) for hit in live),
        extra=event.extra,
    )


def _alone(finding: Finding) -> Verdict:
    """Return what a message was worth by itself: what nobody trusts enough to act is worth a look at most."""
    verdict = finding.sure or finding.verdict
    return "review" if finding.over_budget and verdict == "act" else verdict


def handle_key(kind: str, value: str) -> str:
    """Return the key of a canonical handle. Digits are one handle, whether called QQ, group or telephone.

    >>> handle_key("qun", "617390285"), handle_key("wx", "js_dapeng1")
    ('num:617390285', 'wx:js_dapeng1')
    """
    return f"num:{value}" if value.isascii() and value.isdigit() else f"{kind}:{value}"


def typed_key(kind: str, value: str) -> str | None:
    """Return the key of a handle as somebody typed it; None for what is none.

    >>> typed_key("qq", "738 192-0465"), typed_key("wx", "Mao_Mao")
    ('num:7381920465', 'wx:mao_mao')
    """
    folded = fold(value).text.strip()
    digits = squeeze(folded)
    canonical = digits if digits.isdigit() else folded
    return handle_key(kind, canonical) if kind in get_args(HandleType) and len(canonical.split()) == 1 else None


def script(folded: str, handles: Iterable[Handle] = ()) -> str:
    """Return what copies of one text share: letters only, no handles, numbers or scraps. Empty if too little is left.

    >>> script("平价晶石大量出找微 js_dapeng1 哇") == script("平价晶石，大量出！找微 mao_2b qw")
    True
    """
    for value in sorted({h.value for h in handles}, key=len, reverse=True):
        folded = folded.replace(value, "0")
    letters = _MASKED.sub("", _SCRAP.sub("", folded))
    han = _LATIN.sub("", letters)
    return han if len(han) >= LEAST_HAN else letters if len(letters) >= LEAST_LETTERS else ""


def campaign_id(key: str) -> str:
    """Name the campaign that begins with a key: 32 hex digits."""
    return _digest(f"campaign\x1f{key}", 16)


def _digest(text: str, size: int) -> str:
    return blake2b(text.encode(), digest_size=size).hexdigest()


# --- which campaign a sighting belongs to


class Known(NamedTuple):
    """What is remembered of a key: its campaign, a time when it was seen there (ms, a day old at most), its mark."""

    campaign: str | None = None
    ts: int = 0
    mark: Mark | None = None


class Placed(Struct, frozen=True):
    """Where a sighting belongs, what that teaches about its keys, and those of its handles that are marked as bad."""

    campaign_id: str
    ties: dict[str, Known]
    bad: tuple[str, ...]


def place(seen: Sighting, known: Mapping[str, Known]) -> Placed | None:
    """Return the campaign of a sighting: that of its first key that has one, else its device's of a moment ago.

    None if it joins nothing. An allowed handle joins nothing, but does not shield a handle beside it.
    """
    facts = {key: known.get(key, Known()) for key in seen.keys}
    keys = [key for key, fact in facts.items() if fact.mark != "allowed"]
    if not keys or (len(keys) < len(facts) and all(key.startswith("text:") for key in keys)):
        return None
    bad = tuple(key for key in keys if facts[key].mark == "bad")
    if not (seen.suspect or bad):
        return None
    found = next((facts[key].campaign for key in keys if facts[key].campaign), None) or _partner(seen, known)
    one = found or campaign_id(keys[0])
    old = (key for key in keys if not facts[key].campaign or seen.ts - facts[key].ts > RENEWED_MS)
    ties = {key: Known(facts[key].campaign or one, seen.ts, facts[key].mark) for key in old}
    if seen.device and seen.suspect:
        ties[seen.device] = Known(one, seen.ts)
    return Placed(one, ties, bad)


def _partner(seen: Sighting, known: Mapping[str, Known]) -> str | None:
    """Return the campaign of what was said on the same device a moment ago. Devices tie nobody for longer: cafés."""
    fact = known.get(seen.device or "", Known())
    return fact.campaign if seen.suspect and abs(seen.ts - fact.ts) <= DUET_MS else None


# --- what the ledger says


class Joined(Struct, frozen=True):
    """What the ledger said to a sighting of a campaign that is reached. `due`: sightings of the members to act on now.

    The same event always gets the same members, sightings, `at` (when it first got them, ms) and `bad`.
    """

    campaign_id: str
    due: tuple[Sighting, ...] = ()
    at: int = 0
    bad: bool = False


def doubting(joined: Joined, overturned: frozenset[str], policy: Policy) -> Joined:
    """Trust the rules named in `overturned` no longer, also for what members said before: see `decide.doubting`."""
    if not any(rule.id in overturned for one in joined.due for rule in one.rules):
        return joined
    due = tuple(_doubting(one, overturned, policy) for one in joined.due)
    return msgspec.structs.replace(joined, due=due)


def _doubting(one: Sighting, overturned: frozenset[str], policy: Policy) -> Sighting:
    left = tuple(rule for rule in one.rules if rule.id not in overturned)
    label = one.evidence.why.label
    if len(left) == len(one.rules) or label not in policy.labels:
        return one
    verdict = decide.worth(policy, label, decide.doubted(rule.weight for rule in left))  # type: ignore[arg-type]  # a Label
    return msgspec.structs.replace(one, rules=left, suspect=bool(left), verdict=min(verdict, one.verdict, key=_WORTH))


_WORTH: Final = ("allow", "review", "act").index


# --- a campaign as it is shown


class Member(Struct, frozen=True):
    """An account in a campaign: when it was first and last seen there, and when its turn came (ms; 0: not yet)."""

    account_id: str
    first: int
    last: int
    due_at: int = 0


class Campaign(Struct, frozen=True):
    """A campaign as remembered: members by first seen, evidence by time said. `reached_at` ms, 0: not yet."""

    campaign_id: str
    reached_at: int
    members: tuple[Member, ...]
    evidence: tuple[Sighting, ...]

    @property
    def first(self) -> int:
        """When it was first seen, ms."""
        return min(member.first for member in self.members)

    @property
    def last(self) -> int:
        """When it was last seen, ms."""
        return max(member.last for member in self.members)

    @property
    def devices(self) -> tuple[str, ...]:
        """The devices it used, in order of appearance."""
        return tuple(dict.fromkeys(one.device_id for one in self.evidence if one.device_id))

    @property
    def servers(self) -> tuple[str, ...]:
        """The servers it appeared on, in order of appearance."""
        return tuple(dict.fromkeys(one.evidence.where.server_id for one in self.evidence))

    @property
    def handles(self) -> tuple[str, ...]:
        """The handles it dropped, in order of appearance."""
        return tuple(dict.fromkeys(key for one in self.evidence for key in one.keys if not key.startswith("text:")))

    @property
    def label(self) -> str:
        """What it mostly does; empty where nothing it said was an offence by itself."""
        labels = [one.evidence.why.label for one in self.evidence if one.evidence.why.label]
        return max(labels, key=labels.count, default="")
