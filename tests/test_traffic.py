"""Made-up chat must be valid, repeatable, varied and honest about what is an offence."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter, defaultdict
from itertools import pairwise
from typing import TYPE_CHECKING, get_args

import msgspec
import pytest

from console.phrases import disguise
from console.traffic import LABELS, Line, Traffic, load, rebase
from moderation.errors import SettingsError
from moderation.events import Channel, ChatEvent, Sender, decode_event

if TYPE_CHECKING:
    from pathlib import Path

START = 1_790_000_000_000
TRAPS = {
    "trap_own_guild", "trap_lfg", "trap_trade", "trap_official", "trap_report", "trap_friend", "trap_numbers",
    "trap_overlap", "trap_server_talk", "trap_guild_internal", "trap_style", "trap_vip", "trap_crowd", "trap_split",
    "trap_retry",
}  # fmt: skip


def traffic(seed: int = 1, *, spam_share: float = 0.05, rate: float = 40, players: int = 2400) -> Traffic:
    return Traffic(seed, players=players, spam_share=spam_share, start_ms=START, rate=rate)


@pytest.fixture(scope="module")
def lines() -> list[Line]:
    return list(traffic().take(20_000))


@pytest.fixture(scope="module")
def campaigns(lines: list[Line]) -> dict[str, list[Line]]:
    """All campaigns that were certainly over before the stream was cut."""
    by_name = defaultdict(list)
    for line in lines:
        if line.campaign:
            by_name[line.campaign].append(line)
    return {name: said for name, said in by_name.items() if said[0].event.ts < lines[-1].event.ts - 240_000}


def test_the_same_seed_says_the_same() -> None:
    assert list(traffic(5).take(3000)) == list(traffic(5).take(3000))


def test_taking_goes_on_where_the_last_taking_ended() -> None:
    whole, parts = list(traffic(5).take(600)), traffic(5)
    assert [*parts.take(200), *parts.take(400)] == whole


def test_another_seed_shares_no_id_and_little_text() -> None:
    one, two = list(traffic(1).take(2000)), list(traffic(2).take(2000))
    assert not {line.event.event_id for line in one} & {line.event.event_id for line in two}
    assert sum(a.event.text == b.event.text for a, b in zip(one, two, strict=True)) < 100


def test_every_event_keeps_the_contract(lines: list[Line]) -> None:
    for line in lines:
        event = line.event
        assert decode_event(msgspec.json.encode(event), event.sender.account_id.encode()) == event


def test_event_ids_are_unique(lines: list[Line]) -> None:
    assert len({line.event.event_id for line in lines}) == len(lines)


def test_event_time_never_falls_and_keeps_the_rate(lines: list[Line]) -> None:
    assert all(before.event.ts <= after.event.ts for before, after in pairwise(lines))
    assert lines[0].event.ts >= START
    assert lines[-1].event.ts == pytest.approx(START + len(lines) / 40 * 1000, abs=50)


@pytest.mark.parametrize("share", [0.0, 0.05, 0.3])
def test_abuse_has_the_share_asked_for(share: float) -> None:
    said = list(traffic(spam_share=share).take(20_000))
    assert sum(line.abusive for line in said) / len(said) == pytest.approx(share, rel=0.2)


def test_all_labels_traps_and_channels_occur(lines: list[Line]) -> None:
    assert {line.kind for line in lines} == LABELS | TRAPS | {"clean"}
    assert {line.event.channel for line in lines} == set(get_args(Channel))


def test_no_label_outweighs_the_others(lines: list[Line]) -> None:
    count = Counter(line.kind for line in lines if line.abusive)
    assert max(count.values()) < 0.5 * count.total()


def test_players_seldom_say_what_was_said_before(lines: list[Line]) -> None:
    texts = [line.event.text for line in lines if not line.abusive]
    assert len(set(texts)) > 0.5 * len(texts)


def test_no_slot_is_left_open(lines: list[Line]) -> None:
    open_slot = re.compile(r"\{[a-z_]*\}|\{d?\d+(-\d+)?\}")
    assert not [line.event.text for line in lines if open_slot.search(line.event.text)]
    assert all(line.event.text and line.event.sender.name for line in lines)


def test_a_player_stays_who_they_are(lines: list[Line]) -> None:
    seen: dict[str, tuple[Sender, str]] = {}
    for line in lines:
        sender = line.event.sender
        assert seen.setdefault(sender.account_id, (sender, line.event.server_id)) == (sender, line.event.server_id)


def test_private_talk_has_a_listener_on_the_same_server_and_other_talk_has_none(lines: list[Line]) -> None:
    home = {line.event.sender.account_id: line.event.server_id for line in lines}
    for event in (line.event for line in lines):
        assert (event.recipient is not None) == (event.channel == "private")
        if event.recipient:
            assert home.get(event.recipient.account_id, event.server_id) == event.server_id


def test_offenders_are_mostly_but_not_only_new(lines: list[Line]) -> None:
    ages = {line.event.sender.account_id: line.event.age_days or 0 for line in lines if line.abusive}
    new = sum(age < 4 for age in ages.values())
    assert 0.6 * len(ages) < new < 0.97 * len(ages)


def test_some_honest_players_are_new_too(lines: list[Line]) -> None:
    ages = {line.event.sender.account_id: line.event.age_days or 0 for line in lines if not line.abusive}
    assert 0.04 < sum(age < 4 for age in ages.values()) / len(ages) < 0.15


def test_a_campaign_is_one_handle_of_many_new_accounts_on_several_servers(campaigns: dict[str, list[Line]]) -> None:
    assert campaigns
    for said in campaigns.values():
        assert len({line.handle for line in said}) == 1
        assert len({line.event.sender.account_id for line in said}) >= 5
        assert len({line.event.server_id for line in said}) >= 2
        assert all((line.event.age_days or 0) < 4 for line in said)
        assert said[-1].event.ts - said[0].event.ts < 240_000


def test_a_campaign_spells_its_handle_out_in_some_lines_and_varies_its_wording(
    campaigns: dict[str, list[Line]],
) -> None:
    for said in campaigns.values():
        value = (said[0].handle or "").partition(":")[2]
        assert any(value in line.event.text for line in said)
        assert len({line.event.text for line in said}) > 0.6 * len(said)


def test_poachers_write_to_several_whales(lines: list[Line]) -> None:
    whales = defaultdict(set)
    for event in (line.event for line in lines if line.kind == "poaching"):
        if event.recipient and (event.recipient.vip or 0) >= 8:
            whales[event.sender.account_id].add(event.recipient.account_id)
    assert max(map(len, whales.values())) >= 3


def test_some_names_carry_a_handle(lines: list[Line]) -> None:
    pairs = [(line.handle.partition(":")[2], line.event.sender.name or "") for line in lines if line.handle]
    assert any(value in name for value, name in pairs)


def test_a_retry_repeats_its_client_message_id_with_a_new_event_id(lines: list[Line]) -> None:
    retries = defaultdict(list)
    for line in lines:
        if line.kind == "trap_retry":
            retries[line.event.client_msg_id].append(line.event)
    assert any(len(events) == 3 for events in retries.values())
    assert all(len({event.text for event in events}) == 1 for events in retries.values())


def test_whole_floods_are_many_lines_of_few_texts(lines: list[Line]) -> None:
    floods = defaultdict(list)
    for line in lines:
        if line.kind == "flood":
            floods[line.event.sender.account_id].append(line.event.text)
    longest = max(floods.values(), key=len)
    assert len(longest) >= 5
    assert len(set(longest)) < len(longest)


@pytest.mark.parametrize("script", disguise._SCRIPTS)
def test_every_digit_script_counts_from_nought_to_nine(script: str) -> None:
    spoken = {"洞": 0, "幺": 1, "两": 2, "拐": 7, "勾": 9}
    assert [spoken.get(char, unicodedata.numeric(char, -1)) for char in script] == list(range(10))


def test_disguises_change_most_but_not_all_ads() -> None:
    draw = traffic()._draw
    ad = disguise.Ad("代练", "加Q", "6123456789")
    texts = [disguise.disguised(draw, ad) for _ in range(1000)]
    spelt = sum("6123456789" in text and "代练" in text for text in texts)
    assert 400 < spelt < 700


@pytest.mark.parametrize("wrong", [{"spam_share": 1.1}, {"rate": 0.0}, {"players": 7}])
def test_traffic_refuses_what_makes_no_sense(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="traffic needs"):
        Traffic(1, **{"start_ms": START, "rate": 5, **wrong})  # type: ignore[arg-type]  # floats stand for ints too


def test_one_server_without_a_whale_talks_too() -> None:
    said = list(Traffic(3, players=3, servers=1, start_ms=START, rate=50).take(2000))
    assert {line.event.server_id for line in said} == {"s1"}


def event(ts: int, born: int | None = None) -> ChatEvent:
    return ChatEvent(f"e{ts}", ts, "s1", "world", Sender("a1", account_created_at=born), "你好")


def written(path: Path, *lines: bytes) -> Path:
    path.write_bytes(b"\n".join(lines))
    return path


def test_a_file_of_events_is_read_and_its_empty_lines_skipped(tmp_path: Path) -> None:
    events = [event(START), event(START + 5)]
    first, second = map(msgspec.json.encode, events)
    assert list(load(written(tmp_path / "chat.jsonl", first, b"", second + b"\r", b""))) == events


@pytest.mark.parametrize("bad", [b"{", b"[]", b'{"event_id": "x"}', b"\xff\xfe"])
def test_a_bad_line_is_named_by_its_number(tmp_path: Path, bad: bytes) -> None:
    path = written(tmp_path / "chat.jsonl", msgspec.json.encode(event(START)), bad)
    with pytest.raises(SettingsError, match=r"chat\.jsonl:2: not a chat event"):
        list(load(path))


def test_a_missing_file_is_a_setting_to_mend(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="cannot read"):
        list(load(tmp_path / "none.jsonl"))


def test_rebased_events_start_now_and_keep_their_gaps_and_ages() -> None:
    old = [event(START, START - 86_400_000), event(START + 700), event(START + 200)]
    new = list(rebase(old, START + 10**9))
    assert [each.ts - START - 10**9 for each in new] == [0, 700, 200]
    assert [each.age_days for each in new] == [each.age_days for each in old]


def test_rebasing_nothing_yields_nothing() -> None:
    assert list(rebase([], START)) == []
