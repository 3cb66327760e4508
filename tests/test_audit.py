"""What the audit log says of each record: who did what to whom, when, where, why, how; and the record, whole."""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from moderation.actions import Action
from moderation.audit import KEPT_BYTES, Lost, Opened, Place, Places, Wanted, entry_of, recorded
from moderation.chain import Broken
from tests.audit_records import ROLES, SPAM, TOPICS, Record, records, written
from tests.small_rules import TS

if TYPE_CHECKING:
    from moderation.audit import Role


def test_every_kind_of_record_is_told_of_by_5w1h() -> None:
    entries = [recorded(1, ROLES[one.topic], one) for one in records(written())]
    kinds = ["rules", "revert", "action", "ack", "case", "command", "revert", "view", "dead_letter"]
    assert [entry.told.kind for entry in entries] == kinds
    by = {entry.told.kind: entry.told for entry in entries}
    action = by["action"]
    assert (action.who, action.whom, action.when, action.where) == ("qingliu", "a1", TS, "s1 world")
    assert action.what.startswith("mute")
    assert "@" in action.why
    assert action.how.startswith("auto")
    assert (by["revert"].who, by["revert"].why.split()[0], by["revert"].how) == ("gm", "申诉通过", "manual")
    assert (by["command"].who, by["command"].what, by["command"].whom) == ("gm", "revert", "a1")
    assert (by["ack"].what, by["ack"].whom) == ("applied", "a1")
    assert (by["case"].whom, by["case"].why.split()[0]) == ("v1", "vip")
    assert (by["view"].who, by["view"].what, by["view"].why) == ("gm", "campaigns show c1", "工单 7")
    assert by["dead_letter"].why == "not_utf8"
    assert all(SPAM not in msgspec.json.encode(one).decode() for one in by.values())


def test_an_action_is_kept_whole_and_of_a_dead_letter_only_reason_and_hash() -> None:
    for one in records(written()):
        entry = recorded(1, ROLES[one.topic], one)
        assert entry.sha256 == sha256(one.value or b"").hexdigest()
        assert entry.size == len(one.value or b"")
        dead = one.topic == TOPICS.dead_letters
        assert (entry.value, entry.key) == ((None, None) if dead else (one.value, (one.key or b"").decode()))
        if entry.told.kind == "action":
            evidence = msgspec.json.decode(entry.value or b"", type=Action).evidence
            assert evidence
            assert evidence.what.text == SPAM


_roles = st.sampled_from(sorted(set(ROLES.values())))
_bytes = st.none() | st.binary(max_size=40) | st.sampled_from([b"[" * 9999, b'{"note":"view"}', b'"\\ud800"'])


@given(role=_roles, key=_bytes, value=_bytes, headers=st.lists(st.tuples(st.text(max_size=9), _bytes), max_size=3))
def test_whatever_lies_in_a_topic_makes_an_entry_that_reads_back(
    role: Role, key: bytes | None, value: bytes | None, headers: list[tuple[str, bytes | None]]
) -> None:
    entry = recorded(7, role, Record("t", 0, 3, key, value, headers=headers))
    assert entry_of(msgspec.json.encode(entry, order="sorted")) == entry
    if role != "dead_letters":
        assert entry.value == value


def test_a_record_too_long_to_keep_is_known_by_its_hash() -> None:
    entry = recorded(1, "acks", Record("t", 0, 0, b"k", b"x" * (KEPT_BYTES + 1)))
    assert (entry.value, entry.size, entry.told.kind) == (None, KEPT_BYTES + 1, "unreadable")


def test_places_go_forward_only() -> None:
    places = Places()
    places.pass_over(recorded(1, "acks", Record("t", 0, 5)))
    places.pass_over(Lost(2, "t", 0, 6, 9))
    assert places.sorted() == (Place("t", 0, 9),)
    with pytest.raises(Broken, match="doubled"):
        places.pass_over(recorded(3, "acks", Record("t", 0, 8)))
    with pytest.raises(Broken, match="misplaced"):
        places.pass_over(Opened(3, 2, TS, "c", "", ()))


def test_a_pack_is_about_an_account_a_campaign_or_a_time() -> None:
    entries = [recorded(1, ROLES[one.topic], one) for one in records(written())]

    def found(about: Wanted) -> set[str]:
        return {entry.told.kind for entry in entries if about.about(entry)}

    assert found(Wanted(account_id="a1")) == {"action", "revert", "ack", "command"}
    assert found(Wanted(campaign_id="c1")) == {"view"}
    assert found(Wanted(since=TS + 1)) == found(Wanted(since=TS - 1, until=TS)) == set()
    assert "dead_letter" in found(Wanted(since=TS, until=TS + 1)), "it says no time itself"
    by = {entry.told.kind: entry.told for entry in entries}
    assert set(by["ack"].ids) <= Wanted().names(next(e.told for e in entries if e.told.ids[:1] == by["ack"].ids))
    assert Wanted().names(by["view"]) == frozenset()
