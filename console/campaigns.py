"""Campaigns for people: the list, one in full, marks on handles, and the file for the lawyers.

An exported file is a chain (moderation/chain.py) with a last line that says so: `qingliu audit verify` reads it.
"""

from __future__ import annotations

import time
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, cast, get_args
from uuid import uuid4

import msgspec
from rich import box
from rich.console import Group
from rich.table import Table
from rich.text import Text

from console import words
from console.ledger import asked
from console.revert import checked
from console.show import marked, visible
from console.words import say
from moderation.actions import AllowHandleCommand, HandleCommand, HandleType, MarkHandleCommand, UnmarkHandleCommand
from moderation.campaign import typed_key
from moderation.chain import START, seal
from moderation.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from moderation.campaign import Campaign, Member, Sighting
    from moderation.chain import Head
    from streams.campaigns import Marked
    from streams.settings import Settings

#: Handles, servers and the like that a row of the list shows.
_FEW: Final = 3


async def newest(settings: Settings, most: int) -> list[Campaign]:
    """Return campaigns that were reached, those somebody joined last first. Raises SettingsError, StoreUnavailable."""
    return await asked(settings, lambda ledger: ledger.campaigns.newest(most))


async def find(settings: Settings, campaign_id: str) -> Campaign | None:
    """Return one campaign, None if the ledger does not know it. Raises SettingsError, StoreUnavailable."""
    return await asked(settings, lambda ledger: ledger.campaigns.find(campaign_id))


async def marks(settings: Settings) -> Marked:
    """Return the handles that humans marked or allowed. Raises SettingsError, StoreUnavailable."""
    return await asked(settings, lambda ledger: ledger.campaigns.marked(time.time_ns() // 1_000_000))


Order = type[AllowHandleCommand] | type[MarkHandleCommand] | type[UnmarkHandleCommand]


def marking(order: Order, kind: str, value: str, operator: str, reason: str) -> HandleCommand:
    """Write the command about a handle, as of now. Raises SettingsError for what is no handle, or no command."""
    key_of(kind, value)
    return checked(order(uuid4().hex, operator, reason, time.time_ns() // 1_000_000, cast("HandleType", kind), value))


def key_of(kind: str, value: str) -> str:
    """Return the key of a handle as somebody typed it. Raises SettingsError for what is none.

    >>> key_of("qq", "738 192-0465"), key_of("wx", "Mao_Mao")
    ('num:7381920465', 'wx:mao_mao')
    """
    key = typed_key(kind, value)
    if key is None:
        kinds = "、".join(get_args(HandleType))
        raise SettingsError(say(f"这不是联系方式；类型可写：{kinds}", f"this is no handle; types: {kinds}"))
    return key


# --- on a terminal


def listing(campaigns: Iterable[Campaign]) -> Table:
    """Show campaigns, one a row."""
    table = _table()
    for name in ("团伙", "类别", "联系方式", "账号", "设备", "区服", "首次", "最近"):
        table.add_column(Text(name), overflow="fold")
    for one in campaigns:
        table.add_row(
            one.campaign_id,
            words.LABELS.get(one.label, ""),
            _few(one.handles),
            str(len(one.members)),
            str(len(one.devices)),
            _few(one.servers),
            moment(one.first),
            moment(one.last),
        )
    return table


def mark_table(found: Marked) -> Table:
    """Show what humans know of handles, one a row."""
    table = _table()
    for name in ("联系方式", "标记"):
        table.add_column(Text(name), overflow="fold")
    for keys, mark in ((found.bad, say("恶意", "bad")), (found.allowed, say("正当", "allowed"))):
        for key in sorted(keys):
            table.add_row(Text(visible(key)), mark)
    return table


def dossier(one: Campaign) -> Group:
    """Show a campaign in full: what it is, who is in it, what they said, in order."""
    facts = Table.grid(padding=(0, 2))
    reached = moment(one.reached_at) if one.reached_at else "还没有够数"
    for name, value in (
        ("团伙", one.campaign_id),
        ("类别", words.LABELS.get(one.label, "")),
        ("成团", reached),
        ("首次", moment(one.first)),
        ("最近", moment(one.last)),
        ("联系方式", "，".join(map(visible, one.handles))),
        ("设备", "，".join(map(visible, one.devices))),
        ("区服", "，".join(map(visible, one.servers))),
    ):
        facts.add_row(Text(name, "dim"), Text(value, overflow="fold"))
    return Group(facts, _members(one.members), _evidence(one.evidence))


def _members(members: Sequence[Member]) -> Table:
    table = _table(f"成员 {len(members)}")
    for name in ("账号", "首次", "最近", "处置于"):
        table.add_column(Text(name), overflow="fold")
    for one in members:
        table.add_row(one.account_id, moment(one.first), moment(one.last), moment(one.due_at) if one.due_at else "")
    return table


def _evidence(evidence: Sequence[Sighting]) -> Table:
    table = _table(f"证据 {len(evidence)}")
    for name in ("时间", "账号", "区服", "频道", "说了什么", "为什么"):
        table.add_column(Text(name), overflow="fold")
    for one in evidence:
        told = one.evidence
        table.add_row(
            moment(one.ts),
            one.account_id,
            Text(visible(told.where.server_id)),
            words.CHANNELS.get(told.where.channel, told.where.channel),
            marked(told.what.text, told.what.spans),
            Text(visible("；".join(told.why.because))),
        )
    return table


def _table(title: str | None = None) -> Table:
    heading = Text(title, "bold") if title else None
    return Table(title=heading, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)


def _few(names: Sequence[str]) -> Text:
    more = f" 等 {len(names)} 个" if len(names) > _FEW else ""
    return Text("，".join(map(visible, names[:_FEW])) + more)


def moment(ms: int) -> str:
    """Return day and time in this machine's zone."""
    return f"{datetime.fromtimestamp(ms / 1000).astimezone():%Y-%m-%d %H:%M:%S}"


# --- as evidence


def exported(one: Campaign) -> tuple[list[bytes], Head]:
    """Return the lines of a campaign's file, and the head of the chain they are.

    What it is, its members, its evidence by 5W1H in order, the end. The same campaign gives the same lines.
    """
    lines, head = [], START
    for record in _records(one):
        line, head = seal(head, {"seq": head.seq + 1, **record})
        lines.append(line)
    end, head = seal(head, {"seq": head.seq + 1, "kind": "end"})
    return [*lines, end], head


def _records(one: Campaign) -> Iterator[dict[str, Any]]:
    yield {
        "kind": "campaign",
        "campaign_id": one.campaign_id,
        "label": one.label,
        "reached_at": one.reached_at,
        "first": one.first,
        "last": one.last,
        "handles": one.handles,
        "devices": one.devices,
        "servers": one.servers,
    }
    for member in one.members:
        yield {"kind": "member", **msgspec.to_builtins(member)}
    for piece in one.evidence:
        told = msgspec.to_builtins(piece)
        yield {"kind": "evidence", "event_id": told.pop("event_id"), **told.pop("evidence"), "alone": told}


def unknown(campaign_id: str) -> str:
    """Say that there is no such campaign."""
    return say(f"台账里没有团伙 {campaign_id}", f"the ledger knows no campaign {campaign_id}")
