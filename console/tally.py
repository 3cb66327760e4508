"""A daily or weekly report counted out of the audit log. A record counts when it says it happened, and once."""

from __future__ import annotations

from array import array
from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar

import msgspec
from msgspec import Struct, field

from console.audit import Flawed, Walk, flawed
from console.daily import HOUR_MS, Appeals, Campaign, Contact, Daily, Deed, Facet, Poacher, Side
from moderation.actions import Action, Case, due_since
from moderation.appeal import Appeal
from moderation.audit import Entry, Lost, Recorded
from moderation.chain import Broken
from moderation.notes import RulesChange
from streams.journal import opened_of, segments

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

    from console.daily import Period
    from moderation.chain import Head

T = TypeVar("T")
#: An appeal has so long for its final answer at most; those of before the time told may still be open. See policy.yaml.
_APPEALS_MS: Final = 7 * 24 * HOUR_MS
_UNDONE: Final = frozenset({"message", "mute", "ban"})
#: Kinds of records that are known by an id and say one thing, however often they come.
_ONCE: Final = frozenset({"action", "revert", "case", "command", "ack"})


class _Seen(Struct):
    """What was seen of a handle or a campaign."""

    accounts: set[str] = field(default_factory=set)
    messages: set[str] = field(default_factory=set)
    labels: Counter[str] = field(default_factory=Counter)

    def add(self, action: Action) -> None:
        self.accounts.add(action.target.account_id)
        self.messages.add(action.event_id or action.action_id)
        self.labels[action.label or ""] += 1


class _Poached(Struct):
    server_id: str
    at: int
    deeds: Counter[str] = field(default_factory=Counter)
    to: set[str] = field(default_factory=set)
    handles: set[str] = field(default_factory=set)


class _Counts:
    """One period while it is counted."""

    def __init__(self, period: Period, parts: int) -> None:
        self.period, self._parts = period, parts
        self.counts = Counter[tuple[Facet, str, Deed]]()
        self.moments, self.delays = [0] * parts, array("q")
        self.accounts, self.waiting = set[str](), set[str]()
        self.acks, self.dead, self.orders = Counter[str](), Counter[str](), Counter[str]()
        self.unreadable = 0
        self.handles: defaultdict[str, _Seen] = defaultdict(_Seen)
        self.campaigns: defaultdict[str, _Seen] = defaultdict(_Seen)
        self.poachers: dict[str, _Poached] = {}

    def act(self, action: Action) -> None:
        """Count an action, or what undoes one."""
        self.waiting.add(action.action_id)
        deed = _deed(action)
        if deed is None:
            return
        known = action.evidence
        places = (("server", known.where.server_id), ("channel", known.where.channel)) if known else ()
        self._count(deed, ("label", action.label), *places, *(("rule", rule.id) for rule in action.rules))
        if deed == "undone":
            if poacher := self.poachers.get(action.target.account_id):
                poacher.deeds[deed] += 1
            return
        self._note(action, deed)
        self.moments[(action.created_at - self.period.since) * self._parts // self._length] += 1
        self.accounts.add(action.target.account_id)
        if action.mode == "auto" and (since := due_since(action)) is not None:
            self.delays.append(action.created_at - since)

    def _note(self, action: Action, deed: Deed) -> None:
        account, known = action.target.account_id, action.evidence
        handles = [f"{one.type}:{one.value}" for one in known.what.handles] if known else []
        for handle in handles:
            self.handles[handle].add(action)
        if action.campaign_id:
            self.campaigns[action.campaign_id].add(action)
        if action.label == "poaching" and known:
            one = self.poachers.setdefault(account, _Poached(known.where.server_id, action.created_at))
            one.deeds[deed] += 1
            one.handles.update(handles)
            one.to.update(filter(None, [known.where.recipient]))

    def case(self, case: Case) -> None:
        """Count what was left to a human."""
        event, label = case.event, case.judgement.label
        places = (("server", event.server_id), ("channel", event.channel), ("why_human", case.why_human))
        self._count("case", ("label", label), *places, *(("rule", hit.rule) for hit in case.judgement.hits))

    def _count(self, deed: Deed, *named: tuple[Facet, str | None]) -> None:
        self.counts.update((facet, name or "", deed) for facet, name in {("all", ""), *named})

    @property
    def _length(self) -> int:
        return self.period.until - self.period.since

    def done(self, acked: set[str]) -> Side:
        """Return what was counted."""
        by: dict[Facet, dict[str, dict[Deed, int]]] = {}
        for (facet, name, deed), count in sorted(self.counts.items()):
            by.setdefault(facet, {}).setdefault(name, {})[deed] = count
        return Side(
            by, len(self.accounts), tuple(self.moments), _percentiles(self.delays), dict(self.acks.most_common()),
            len(self.waiting - acked), dict(self.dead.most_common()), dict(self.orders.most_common()), self.unreadable,
        )  # fmt: skip


class Tally:
    """Counts entries of the audit log. `parts`: how many parts a period is drawn in."""

    def __init__(self, period: Period, before: Period, parts: int) -> None:
        self._now, self._before = _Counts(period, parts), _Counts(before, parts)
        self._seen, self._acked = set[str](), set[str]()
        self._appeals: dict[str, Appeal] = {}
        self._changes: list[RulesChange] = []
        self._readers: dict[str, Callable[[_Counts, Recorded], None]] = {
            "action": self._action, "revert": self._action, "case": self._case, "rules": self._change,
        }  # fmt: skip
        self._lost = self._begins = self._ends = 0

    def add(self, entry: Entry) -> None:
        """Count an entry, if it is of the time."""
        if isinstance(entry, Lost):
            self._lost += entry.until - entry.offset
        elif isinstance(entry, Recorded):
            self._begins = min(self._begins or entry.at, entry.at)
            self._ends = max(self._ends, entry.at)
            self._add(entry)

    def _add(self, entry: Recorded) -> None:
        told = entry.told
        if told.kind == "appeal" and (appeal := _read(entry, Appeal)):
            self._appeal(appeal)
        if told.kind == "ack":
            self._acked.update(told.ids)
        when = told.when or entry.at
        side = next((one for one in (self._now, self._before) if one.period.has(when)), None)
        if side is not None and not (told.kind in _ONCE and self._again(f"{told.kind} {told.what} {told.ids[0]}")):
            self._count(side, entry)

    def _count(self, side: _Counts, entry: Recorded) -> None:
        told = entry.told
        if reader := self._readers.get(told.kind):
            reader(side, entry)
        named = {
            "ack": (side.acks, told.what),
            "dead_letter": (side.dead, told.why),
            "command": (side.orders, told.who),
        }
        if told.kind in named:
            counter, name = named[told.kind]
            counter[name] += 1
        side.unreadable += told.kind == "unreadable"

    def _again(self, said: str) -> bool:
        if said in self._seen:
            return True
        self._seen.add(said)
        return False

    def _action(self, side: _Counts, entry: Recorded) -> None:
        if action := _read(entry, Action):
            side.act(action)

    def _case(self, side: _Counts, entry: Recorded) -> None:
        if case := _read(entry, Case):
            side.case(case)

    def _change(self, side: _Counts, entry: Recorded) -> None:
        change = _read(entry, RulesChange)
        if change and side is self._now and change.change != "started":
            self._changes.append(change)

    def _appeal(self, appeal: Appeal) -> None:
        known = self._appeals.get(appeal.action_id)
        if known is None or known.final is None:
            self._appeals[appeal.action_id] = appeal

    def done(self, head: Head, *, whole: bool = True) -> Daily:
        """Return what was counted; `head` is the last line of the log. `whole`: all of the log was read."""
        now, before = self._now, self._before
        return Daily(
            now.period, before.period, head, self._begins if whole else None, self._ends, self._lost,
            (now.done(self._acked), before.done(self._acked)),
            _appeals(self._appeals.values(), now.period),
            tuple(Contact(name, len(one.accounts), len(one.messages), _most(one.labels), name not in before.handles)
                  for name, one in _largest(now.handles)),
            tuple(Campaign(name, len(one.accounts), _most(one.labels), name not in before.campaigns)
                  for name, one in _largest(now.campaigns)),
            tuple(Poacher(account, one.server_id, dict(one.deeds), one.at, tuple(sorted(one.to)),
                          tuple(sorted(one.handles)))
                  for account, one in sorted(now.poachers.items(), key=lambda item: (-len(item[1].to), item[1].at))),
            tuple(self._changes),
        )  # fmt: skip


def _read(entry: Recorded, kind: type[T]) -> T | None:
    """Return a record as what it is; None where it was too long to be kept, or is of another version."""
    try:
        return None if entry.value is None else msgspec.json.decode(entry.value, type=kind)
    except msgspec.DecodeError:
        return None


def _deed(action: Action) -> Deed | None:
    """Say what an action is; None for a strike that is forgotten, which nobody was told of."""
    if action.reverts is not None:
        return "undone" if action.scope in _UNDONE else None
    if action.action == "revert":
        return "retract" if action.scope == "message" else None
    return action.action


def _percentiles(delays: array[int]) -> tuple[int, int] | None:
    ordered = sorted(delays)
    return (ordered[len(ordered) // 2], ordered[len(ordered) * 99 // 100]) if ordered else None


def _largest(seen: dict[str, _Seen]) -> list[tuple[str, _Seen]]:
    return sorted(seen.items(), key=lambda item: (-len(item[1].accounts), -len(item[1].messages), item[0]))


def _most(labels: Counter[str]) -> str:
    return max(sorted(labels), key=labels.__getitem__)


def _appeals(all_: Iterable[Appeal], period: Period) -> Appeals:
    here = [one for one in all_ if one.opened_at < period.until]
    closed = [(one, one.final) for one in here if one.final and period.has(one.final.ts)]
    waiting = [one for one in here if one.final is None or one.final.ts >= period.until]
    hours = [(final.ts - one.opened_at) / HOUR_MS for one, final in closed]
    return Appeals(
        opened=sum(period.has(one.opened_at) for one in here),
        granted=sum(bool(final.granted) for _, final in closed),
        denied=sum(not final.granted for _, final in closed),
        late=sum(final.ts > one.final_due for one, final in closed),
        open=len(waiting),
        overdue=sum(_due(one, period.until) < period.until for one in waiting),
        slowest_h=round(max(hours), 1) if hours else None,
    )


def _due(appeal: Appeal, at: int) -> int:
    """Return when a human must answer next, as it stood at some moment."""
    answered = appeal.first is not None and appeal.first.ts < at
    return appeal.final_due if answered else appeal.first_due


# --- the log


class Log(NamedTuple):
    """An audit log as far as it may tell of a time: its segments, and their bytes. `whole`: these are all there are."""

    paths: Sequence[Path]
    size: int
    whole: bool


def log_of(directory: Path, period: Period, before: Period) -> Log:
    """Return what must be read for two periods. Raises Flawed where it is broken, SettingsError where there is none."""
    every = segments(directory)
    paths = _since(every, min(before.since, period.until - _APPEALS_MS))
    return Log(paths, sum(path.stat().st_size for path in paths), len(paths) == len(every))


def daily(log: Log, tally: Tally, key: bytes | None = None, *, read: Callable[[int], object] = int) -> Daily:
    """Count a log; `read` is told of bytes. Raises Flawed where it is broken."""
    walk = Walk(key)
    for step in walk.steps(log.paths):
        tally.add(step.entry)
        read(len(step.line) + 1)
    return tally.done(walk.head, whole=log.whole)


def _since(paths: list[Path], when: int) -> list[Path]:
    """Return the segments that may tell of something since then: all before it were closed when the next was opened."""
    first = 0
    for number, path in enumerate(paths):
        with path.open("rb") as file:
            line = file.readline().rstrip(b"\n")
        try:
            if opened_of(line).at <= when:
                first = number
        except Broken as exc:
            raise Flawed(flawed(exc.kind, path.name, 1)) from None
    return paths[first:]
