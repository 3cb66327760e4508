"""For each alert: series under which it must fire, and near misses under which it must not. One value a minute."""

from __future__ import annotations

from typing import Final, NamedTuple

Series = dict[str, str]


class Case(NamedTuple):
    """`at` is the minute that is looked at; `common` series are there in both."""

    at: int
    fires: Series
    silent: Series
    common: Series = {}  # noqa: RUF012  a NamedTuple's default, never changed


def slow(metric: str, le: str, share: float) -> Series:
    """Return a histogram of 1000 a minute, `share` of them beyond the bound."""
    fast = round(1000 * (1 - share))
    return {f'{metric}_bucket{{le="{le}"}}': f"0+{fast}x500", f"{metric}_count": "0+1000x500"}


AGE: Final = "qingliu_event_age_seconds"
ENFORCED: Final = "qingliu_enforcement_latency_seconds"
CHAT: Final = 'qingliu_received_total{topic="chat.world"}'
AUTO: Final = 'qingliu_actions_total{action="mute",label="rmt",mode="auto"}'
OBSERVED: Final = 'qingliu_lag_records{job="qingliu-observer",topic="chat.world",partition="%d"}'
ANSWERED: Final = 'qingliu_canaries_total{result="answered"}'
HITS: Final = 'qingliu_rule_hits_total{rule="a.b",status="live"}'
RSS: Final = 'process_resident_memory_bytes{job="qingliu-worker",instance="a"}'
STARTED: Final = 'process_start_time_seconds{job="qingliu-worker",instance="a"}'
STALLED: Final = 'qingliu_stalled_seconds{topic="chat.world",partition="0"}'
SLOW_STORE: Final = 'qingliu_store_seconds_bucket{le="%s"}'
USED, MAX = "qingliu_store_memory_bytes", "qingliu_store_max_memory_bytes"
DAY: Final = 1440

CASES: Final[dict[str, Case]] = {
    "QingliuEventAgeFastBurn": Case(80, slow(AGE, "1.5", 0.2), slow(AGE, "1.5", 0.1)),
    "QingliuEventAgeSlowBurn": Case(400, slow(AGE, "1.5", 0.08), slow(AGE, "1.5", 0.05)),
    "QingliuEnforcementFastBurn": Case(80, slow(ENFORCED, "1.0", 0.2), slow(ENFORCED, "1.0", 0.1)),
    "QingliuEnforcementSlowBurn": Case(400, slow(ENFORCED, "1.0", 0.08), slow(ENFORCED, "1.0", 0.05)),
    "QingliuUnaccounted": Case(
        100,
        {'qingliu_outcomes_total{outcome="allow"}': "0+950x200"},
        {'qingliu_outcomes_total{outcome="allow"}': "0+995x200"},
        {CHAT: "0+1000x200"},
    ),
    "QingliuCanaryLost": Case(20, {ANSWERED: "0+1x10 10x10"}, {ANSWERED: "0+1x20"}),
    "QingliuCanarySlow": Case(
        30,
        {"qingliu_canary_latency_seconds_sum": "0+3x40"},
        {"qingliu_canary_latency_seconds_sum": "0+1x40"},
        {"qingliu_canary_latency_seconds_count": "0+1x40"},
    ),
    "QingliuAcksMissing": Case(
        30,
        {"qingliu_unacknowledged_total": "0+10x40"},
        {"qingliu_unacknowledged_total": "0+4x40"},
        {'qingliu_acks_total{status="applied"}': "0+100x40"},
    ),
    "QingliuAcksRejected": Case(
        60,
        {'qingliu_acks_total{status="rejected"}': "0+40x70"},
        {'qingliu_acks_total{status="rejected"}': "0+20x70"},
        {'qingliu_acks_total{status="applied"}': "0+100x70"},
    ),
    "QingliuWorkersDown": Case(
        5, {'up{job="qingliu-worker"}': "0x10"}, {'up{job="qingliu-worker",instance="b"}': "1x10"}
    ),
    "QingliuObserverDown": Case(10, {'up{job="qingliu-worker"}': "1x20"}, {'up{job="qingliu-observer"}': "1x20"}),
    "QingliuBrokerAway": Case(10, {'qingliu_broker_up{instance="a"}': "1x5 0x10"}, {"qingliu_broker_up": "1x20"}),
    "QingliuProduceFailing": Case(
        10, {"qingliu_produce_retries_total": "0+1x20"}, {"qingliu_produce_retries_total": "0+1x5 5x20"}
    ),
    "QingliuNotConsuming": Case(10, {STALLED: "0+60x20"}, {STALLED: "0 30 60 0 30 60 0 30 60 0 30 60 0 30 60"}),
    "QingliuPartitionsUnassigned": Case(
        20,
        {OBSERVED % 0: "0x30", OBSERVED % 1: "0x30", 'qingliu_partitions{instance="a"}': "1x30"},
        {OBSERVED % 0: "0x30", OBSERVED % 1: "0x30", 'qingliu_partitions{instance="a"}': "2x30"},
    ),
    "QingliuLagGrowing": Case(40, {OBSERVED % 0: "4000+100x50"}, {OBSERVED % 0: "9000-100x50"}),
    "QingliuWorkerRestarting": Case(35, {STARTED: "0+60x40"}, {STARTED: "0 1 2 2x40"}),
    "QingliuRebalancing": Case(
        40,
        {'qingliu_rebalances_total{instance="a"}': "0+1x50"},
        {'qingliu_rebalances_total{instance="a"}': "0 1 2 3 3x50"},
    ),
    "QingliuDeadLetters": Case(
        20,
        {'qingliu_dead_letters_total{reason="schema"}': "0+20x30"},
        {'qingliu_dead_letters_total{reason="schema"}': "0+5x30"},
        {CHAT: "0+1000x30"},
    ),
    "QingliuReloadFailing": Case(
        10,
        {'qingliu_ruleset_reloads_total{result="rejected"}': "0 0 1 1x20"},
        {'qingliu_ruleset_reloads_total{result="ok"}': "0 0 1 1x20"},
    ),
    "QingliuRulesetsDisagree": Case(
        20,
        {'qingliu_ruleset_info{hash="a",instance="1"}': "1x30", 'qingliu_ruleset_info{hash="b",instance="2"}': "1x30"},
        {'qingliu_ruleset_info{hash="a",instance="1"}': "1x30", 'qingliu_ruleset_info{hash="a",instance="2"}': "1x30"},
    ),
    "QingliuRuleOverBudget": Case(
        20, {'qingliu_cases_total{why="budget"}': "0+5x30"}, {'qingliu_cases_total{why="budget"}': "0+1x30"}
    ),
    "QingliuRuleJumped": Case(DAY + 60, {HITS: f"0+2x{DAY} 4000+60x100"}, {HITS: f"0+20x{DAY} 28800+60x100"}),
    "QingliuRuleOverturned": Case(
        10, {'qingliu_rule_overturned{rule="a.b"}': "1x20"}, {'qingliu_rule_overturned{rule="a.b"}': "0x20"}
    ),
    "QingliuRuleOutOfBand": Case(
        10, {'qingliu_rule_out_of_band{rule="a.b"}': "1x20"}, {'qingliu_rule_out_of_band{rule="a.b"}': "0x20"}
    ),
    "QingliuAppealsOverdue": Case(60, {"qingliu_appeals_overdue": "2x70"}, {"qingliu_appeals_overdue": "2x20 0x70"}),
    "QingliuActionStorm": Case(DAY + 60, {AUTO: f"0+10x{DAY} 14400+120x100"}, {AUTO: f"0+40x{DAY} 57600+120x100"}),
    "QingliuActionSilence": Case(
        DAY + 60,
        {AUTO: f"0+60x{DAY} 86400x100"},
        {AUTO: f"0+60x{DAY} 86400+10x100"},
        {CHAT: f"0+6000x{DAY + 100}"},
    ),
    "QingliuDegraded": Case(10, {"qingliu_degraded": "0x3 1x20"}, {"qingliu_degraded": "0x7 1 0x20"}),
    "QingliuStoreAway": Case(10, {"qingliu_store_up": "1x3 0x20"}, {"qingliu_store_up": "1x20"}),
    "QingliuStoreSlow": Case(
        30,
        {SLOW_STORE % "0.1": "0+90x40", SLOW_STORE % "0.25": "0+100x40", SLOW_STORE % "+Inf": "0+100x40"},
        {SLOW_STORE % "0.1": "0+100x40", SLOW_STORE % "0.25": "0+100x40", SLOW_STORE % "+Inf": "0+100x40"},
    ),
    "QingliuUnrecordedActions": Case(
        10, {"qingliu_unrecorded_actions": "20000x20"}, {"qingliu_unrecorded_actions": "9000x20"}
    ),
    "QingliuStoreFull": Case(20, {USED: "90x30"}, {USED: "70x30"}, {MAX: "100x30"}),
    "QingliuStoreGrowing": Case(500, {USED: "1000+10x600"}, {USED: "1000+1x600"}, {MAX: "20000x600"}),
    "QingliuWorkerMemory": Case(20, {RSS: "2e9x30"}, {RSS: "1e9x30"}),
}
