"""Orders of humans that are about many actions: a page at a time, once each, and only what is meant."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import msgspec

from moderation.actions import (
    Action,
    AllowHandleCommand,
    ForgiveCommand,
    HandleCommand,
    MarkHandleCommand,
    RevertCommand,
    RevertManyCommand,
    UnmarkHandleCommand,
    Which,
)
from moderation.order import decode_command
from streams.bulletin import Bulletin
from streams.orders import PAGE
from tests.small_rules import TS, event
from tests.test_pipeline import SPAM, TOPICS, Desk, Record, record

if TYPE_CHECKING:
    from moderation.actions import Command

RULE = "sell.contact"


def spammed(*accounts: str) -> Desk:
    """A desk that muted these accounts for spam."""
    desk = Desk()
    desk.chat(*(record(event(SPAM, n, account=account, level=3), n) for n, account in enumerate(accounts)))
    return desk


def many(command_id: str = "c1", *, ts: int = TS + 9000, **which: object) -> RevertManyCommand:
    return RevertManyCommand(command_id, "gm-li", "规则写错了", ts, msgspec.convert(which, Which))


def carried_out(desk: Desk, command: Command) -> list[Action]:
    """Carry out an order with all its pages; return the reverts it sent."""
    before, orders = len(desk.post.actions()), [msgspec.json.encode(command)]
    while orders:
        told = len(desk.post.of(TOPICS.commands))
        key = decode_command(orders[0], b"c1").command_id.encode()
        asyncio.run(desk.pipeline.commands([Record(0, key, orders.pop(), TOPICS.commands)], lambda: True))
        orders += [letter.value or b"" for letter in desk.post.of(TOPICS.commands)[told:]]
    return desk.post.actions()[before:]


def test_a_bad_rule_is_undone_for_everybody_it_hit() -> None:
    desk = spammed("a1", "a2")
    done = {one.action_id for one in desk.post.actions()}
    reverts = carried_out(desk, many(rule=RULE))
    assert {one.reverts for one in reverts} == done
    assert {(one.operator, one.operator_reason, one.mode) for one in reverts} == {("gm-li", "规则写错了", "manual")}
    assert [asyncio.run(desk.store.live(account, TS + 9000)) for account in ("a1", "a2")] == [[], []]
    assert desk.counted("commands_total", command="revert_many", status="done") == 1


def test_after_a_mass_revert_the_ladder_begins_again() -> None:
    desk = spammed("a1")
    carried_out(desk, many(rule=RULE))
    desk.chat(record(event(SPAM, 9, at_s=3600, level=3), 9))
    assert desk.post.actions()[-1].duration_s == 3600


def test_an_order_that_comes_again_says_the_same_and_another_one_says_nothing() -> None:
    desk = spammed("a1", "a2")
    first = carried_out(desk, many(rule=RULE))
    assert carried_out(desk, many(rule=RULE)) == first
    assert carried_out(desk, many("c1", ts=TS + 10_000, rule=RULE)) == []


def test_what_was_undone_before_is_left_as_it_was() -> None:
    desk = spammed("a1", "a2")
    mute = next(one for one in desk.post.actions() if one.action == "mute" and one.target.account_id == "a1")
    desk.command(RevertCommand("c9", "gm-wang", "误判", TS + 5000, mute.action_id, "a1"))
    assert mute.action_id not in {one.reverts for one in carried_out(desk, many(rule=RULE))}


def test_more_than_a_page_goes_on_by_itself() -> None:
    desk = spammed(*(f"a{n}" for n in range(PAGE // 2 + 1)))
    done = {one.action_id for one in desk.post.actions()}
    assert len(done) > PAGE
    reverts = carried_out(desk, many(rule=RULE))
    assert [len(reverts), {one.reverts for one in reverts}] == [len(done), done]
    assert len(desk.post.of(TOPICS.commands)) == 1


def test_only_what_is_meant_is_undone() -> None:
    desk = spammed("a1")
    others = ({"rule": "other"}, {"rule": RULE, "revision": "00000000"}, {"server_id": "s2"}, {"label": "abuse"})
    assert [carried_out(desk, many(**which)) for which in (*others, {"until": TS}, {"campaign_id": "c"})] == [[]] * 6
    assert carried_out(desk, many(server_id="s1", label="rmt", since=TS, until=TS + 2000))


def test_an_order_that_names_nothing_undoes_nothing() -> None:
    desk = spammed("a1")
    before = len(desk.post.actions())
    asyncio.run(desk.pipeline.commands([Record(0, b"c1", msgspec.json.encode(many()), TOPICS.commands)], lambda: True))
    assert [dict(one.headers)["reason"] for one in desk.post.of(TOPICS.dead_letters)] == [b"schema"]
    assert len(desk.post.actions()) == before


def test_a_page_that_is_no_place_is_a_dead_letter_and_undoes_nothing() -> None:
    desk = spammed("a1")
    before = len(desk.post.actions())
    assert carried_out(desk, msgspec.structs.replace(many(rule=RULE), after="²:1")) == []
    assert [dict(one.headers)["reason"] for one in desk.post.of(TOPICS.dead_letters)] == [b"schema"]
    assert len(desk.post.actions()) == before


def test_whose_strikes_are_forgiven_begins_again_and_stays_muted() -> None:
    desk = spammed("a1")
    mute = desk.post.actions()[-1]
    for _ in range(2):
        desk.command(ForgiveCommand("c1", "gm-li", "被盗号", TS + 5000, "a1"))
    told, again = desk.post.actions()[-2:]
    assert told == again
    assert (told.action, told.scope, told.operator, told.operator_reason) == ("revert", "strike", "gm-li", "被盗号")
    assert asyncio.run(desk.store.live("a1", TS + 6000)) == [mute]
    desk.chat(record(event(SPAM, 9, at_s=3600, level=3), 9))
    assert desk.post.actions()[-1].duration_s == mute.duration_s


# --- what humans know of handles

NUMBER = "7381920465"
ON_RECORD = ("c1", "gm-li", "核实过", TS)


def known(desk: Desk, *commands: HandleCommand) -> None:
    """Carry out orders about handles, and let the worker hear of them."""
    for one in commands:
        desk.command(one, key=f"{one.type}:{one.value}".encode())
    asyncio.run(Bulletin(desk.moderator, desk.store, desk.metrics, now_ms=lambda: TS).read())


def joined(desk: Desk) -> list[str | None]:
    return [one.campaign_id for one in desk.post.actions()]


def test_a_handle_marked_by_command_makes_one_account_a_campaign_until_the_mark_is_taken_back() -> None:
    for orders, joins in (
        ((), False),
        ((MarkHandleCommand(*ON_RECORD, "qq", "738 192-0465"),), True),
        ((MarkHandleCommand(*ON_RECORD, "qq", NUMBER), UnmarkHandleCommand(*ON_RECORD, "tel", NUMBER)), False),
        ((MarkHandleCommand(*ON_RECORD, "qq", NUMBER), AllowHandleCommand(*ON_RECORD, "qun", NUMBER)), False),
    ):
        desk = Desk()
        known(desk, *orders)
        desk.chat(record(event(SPAM, level=3)))
        assert any(joined(desk)) is joins, orders


def test_a_marked_handle_is_recognised_bare_and_an_allowed_one_is_not() -> None:
    desk = Desk()
    known(desk, MarkHandleCommand(*ON_RECORD, "qq", NUMBER))
    assert [h.value for h in desk.moderator.judge([event(f"找 {NUMBER}")])[0].handles] == [NUMBER]
    known(desk, AllowHandleCommand(*ON_RECORD, "qq", NUMBER))
    assert desk.moderator.judge([event(f"找 {NUMBER}", 1)])[0].handles == ()


def test_by_an_allowed_handle_nobody_joins_and_the_rules_still_judge() -> None:
    desk = Desk()
    known(desk, AllowHandleCommand(*ON_RECORD, "qq", NUMBER))
    desk.chat(*(record(event(SPAM, n, at_s=60 * n, account=f"a{n}", level=3), n) for n in range(4)))
    assert joined(desk)
    assert not any(joined(desk))


def test_an_order_about_no_handle_or_under_another_key_is_a_dead_letter() -> None:
    desk = Desk()
    desk.command(MarkHandleCommand(*ON_RECORD, "wx", "mao mao"), key=b"wx:mao mao")
    desk.command(MarkHandleCommand(*ON_RECORD, "qq", NUMBER), key=b"num:7381920465")
    reasons = [dict(one.headers)["reason"] for one in desk.post.of(TOPICS.dead_letters)]
    assert reasons == [b"schema", b"key_mismatch"]
    assert asyncio.run(desk.store.campaigns.marked(TS)).bad == frozenset()
