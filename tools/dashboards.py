"""Write the Grafana dashboards: on call, moderation, rules. Panels are a table here; the SDK makes valid JSON of it.

    .venv/bin/python tools/dashboards.py

The files in deploy/grafana/dashboards are committed; tests/test_dashboards.py fails when they are not what this writes.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from grafana_foundation_sdk.builders import dashboard, prometheus, timeseries
from grafana_foundation_sdk.builders.common import VizLegendOptions
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.common import LegendDisplayMode, LegendPlacement
from grafana_foundation_sdk.models.dashboard import DataSourceRef

if TYPE_CHECKING:
    from collections.abc import Sequence

WHERE: Final = Path(__file__).parent.parent / "deploy/grafana/dashboards"
_SOURCE: Final = DataSourceRef(type_val="prometheus", uid="prometheus")
#: Three panels fill a row of Grafana's 24 columns.
_SPAN, _HEIGHT = 8, 7


class Panel(NamedTuple):
    """A graph: what it shows, in which unit of Grafana, and queries by legend."""

    title: str
    unit: str
    queries: dict[str, str]
    says: str = ""


def _quantiles(metric: str) -> dict[str, str]:
    rate = f"sum by (le) (rate(qingliu_{metric}_bucket[$__rate_interval]))"
    return {f"p{round(q * 100)}": f"histogram_quantile({q}, {rate})" for q in (0.5, 0.99)}


def _rate(metric: str, by: str, where: str = "") -> dict[str, str]:
    legend = " ".join(f"{{{{{label.strip()}}}}}" for label in by.split(","))
    return {legend: f"sum by ({by}) (rate(qingliu_{metric}_total{where}[$__rate_interval]))"}


ON_CALL: Final[dict[str, Sequence[Panel]]] = {
    "Does it work? 能用吗": (
        Panel("Canaries answered in 5 min 金丝雀", "none", {
            "{{result}}": "sum by (result) (increase(qingliu_canaries_total[5m]))",
        }, "Our own messages, through the whole path. No answer = no moderation."),
        Panel("From message to action 发言到处罚", "s", {
            **_quantiles("enforcement_latency_seconds"), "canary p99": _quantiles("canary_latency_seconds")["p99"],
        }),
        Panel("Age of events when done 处理完时的消息年龄", "s", _quantiles("event_age_seconds")),
        Panel("Budget burnt, 1 = a month's in a month 余量消耗", "none", {
            "event age, 1 h": "qingliu:event_age:slow_ratio_rate1h / 0.01",
            "enforcement, 1 h": "qingliu:enforcement:slow_ratio_rate1h / 0.01",
        }, "Pages at 14.4 over an hour and five minutes, tickets at 6 over six hours and thirty minutes."),
        Panel("Received and finished 收到与完成", "ops", {
            "received": "qingliu:chat_received:rate5m", "finished": "sum(qingliu:outcomes:rate5m)",
        }),
        Panel("Unaccounted in the last hour 没有结果的", "percentunit", {"share": "qingliu:unaccounted:ratio_rate1h"}),
    ),
    "Does it keep up? 跟得上吗": (
        Panel("Records behind 积压", "short", {"{{topic}}": "qingliu:lag_records:sum"}),
        Panel("Standing still 停住的分区", "s", {
            "{{topic}}/{{partition}}": "max by (topic, partition) (qingliu_stalled_seconds) > 10",
        }),
        Panel("Partitions held 分区", "none", {"{{instance}}": "qingliu_partitions"}),
        Panel("Batch 批次", "s", {
            **{f"whole {name}": query for name, query in _quantiles("batch_seconds").items()},
            **{f"engine {name}": query for name, query in _quantiles("judge_seconds").items()},
        }),
        Panel("Records in a batch 每批条数", "short", _quantiles("batch_records")),
        Panel("Rebalances, abandoned work 再平衡", "short", {
            "rebalances": "sum(increase(qingliu_rebalances_total[5m]))",
            "abandoned": "sum(increase(qingliu_stale_batches_total[5m]))",
        }),
    ),
    "What it needs 依赖": (
        Panel("Broker and store 在不在", "bool_on_off", {
            "broker {{instance}}": "qingliu_broker_up", "store {{instance}}": "qingliu_store_up",
            "degraded {{instance}}": "qingliu_degraded",
        }),
        Panel("The ledger's answers 台账应答", "s", _quantiles("store_seconds")),
        Panel("Failures a second 失败", "ops", {
            "produce retried": "sum(rate(qingliu_produce_retries_total[$__rate_interval]))",
            "store": "sum(rate(qingliu_store_errors_total[$__rate_interval]))",
            "log lines not written": "sum(rate(qingliu_log_lines_suppressed_total[$__rate_interval]))",
        }),
        Panel("Store's memory Redis 内存", "bytes", {
            "used": "qingliu_store_memory_bytes", "limit": "qingliu_store_max_memory_bytes > 0",
        }),
        Panel("Store's keys Redis 键数", "short", {"keys": "qingliu_store_keys"}),
        Panel("Workers' memory", "bytes", {"{{instance}}": 'process_resident_memory_bytes{job=~"qingliu-.*"}'}),
        Panel("Processor and event loop", "percentunit", {
            "core {{instance}}": 'rate(process_cpu_seconds_total{job="qingliu-worker"}[$__rate_interval])',
            "loop lag p99": _quantiles("loop_lag_seconds")["p99"],
        }),
        Panel("Processes behind one port 进程", "none", {
            "wanted {{instance}}": "qingliu_processes_wanted",
            "answering {{instance}}": "qingliu_processes",
            "started again in 5 min": "sum(increase(qingliu_process_restarts_total[5m]))",
        }),
    ),
}  # fmt: skip

MODERATION: Final[dict[str, Sequence[Panel]]] = {
    "What is found 发现了什么": (
        Panel("Verdicts 裁定", "ops", _rate("verdicts", "verdict", '{verdict!="allow"}')),
        Panel("By label 类别", "ops", _rate("verdicts", "label", '{verdict!="allow"}')),
        Panel("By channel 频道", "ops", _rate("verdicts", "channel", '{verdict!="allow"}')),
        Panel("Share acted on 处罚占比", "percentunit", {
            "{{channel}}": 'sum by (channel) (rate(qingliu_verdicts_total{verdict="act"}[$__rate_interval]))'
            " / sum by (channel) (rate(qingliu_verdicts_total[$__rate_interval]))",
        }),
        Panel("Campaigns open 团伙", "none", {"open": "qingliu_campaigns_open"}),
        Panel("Senders remembered 记住的发言人", "short", {
            "{{instance}}": "qingliu_windows_senders",
            "{{instance}} dropped": "increase(qingliu_windows_evicted_total[5m])",
        }),
    ),
    "What is done 做了什么": (
        Panel("Actions 指令", "ops", _rate("actions", "action, mode")),
        Panel("Now and yesterday 与昨天比", "ops", {
            "now": "qingliu:actions_auto:rate5m", "yesterday": "qingliu:actions_auto:rate5m offset 1d",
        }),
        Panel("Cases for humans 人工案件", "ops", _rate("cases", "why")),
        Panel("Commands of moderators 人工指令", "ops", _rate("commands", "command, status")),
        Panel("Game servers' answers 回执", "ops", {
            **_rate("acks", "status"), "none": "sum(rate(qingliu_unacknowledged_total[$__rate_interval]))",
        }),
        Panel("From message to ack 发言到执行", "s", _quantiles("ack_latency_seconds")),
    ),
    "What could not be read 看不懂的": (
        Panel("Dead letters 死信", "ops", _rate("dead_letters", "reason")),
        Panel("Awaiting an ack, awaiting the ledger 在等的", "short", {
            "ack": "qingliu_awaiting_ack", "ledger {{instance}}": "qingliu_unrecorded_actions",
        }),
    ),
}  # fmt: skip

RULES: Final[dict[str, Sequence[Panel]]] = {
    "Rules 规则": (
        Panel("Live hits, ten most 命中最多的十条", "ops", {"{{rule}}": "topk(10, qingliu:rule_hits_live:rate10m)"}),
        Panel("Shadow hits 影子命中", "ops", _rate("rule_hits", "rule", '{status="shadow"}')),
        Panel("Ten times yesterday's 突然变多的", "none", {
            "{{rule}}": "qingliu:rule_hits_live:rate10m / (qingliu:rule_hits_live:rate1d offset 1h) > 3",
        }),
        Panel("Left to humans by appeals 因申诉只交人工", "none", {
            "{{rule}}": "max by (rule) (qingliu_rule_overturned) == 1",
        }),
        Panel("Left to humans by their hit rate 因命中率只交人工", "none", {
            "{{rule}}": "max by (rule) (qingliu_rule_out_of_band) == 1",
        }),
        Panel("Appeals 申诉", "none", {
            "open": "max(qingliu_appeals_open)", "overdue": "max(qingliu_appeals_overdue)",
        }),
        Panel("Over budget 超额度转人工", "ops", _rate("cases", "why", '{why="budget"}')),
    ),
    "Rule sets 规则集": (
        Panel("In force on how many workers 生效的版本", "none", {
            "{{hash}}": "count by (hash) (qingliu_ruleset_info)",
        }),
        Panel("Revision 版次", "none", {
            "in force, the oldest": "min(qingliu_rules_revision)", "published": "max(qingliu_rules_published)",
        }),
        Panel("Reloads 重新载入", "none", {
            "{{result}}": "sum by (result) (increase(qingliu_ruleset_reloads_total[5m]))",
        }),
        Panel("Age of the rule set 规则集的年龄", "s", {
            "oldest": "time() - min(qingliu_ruleset_loaded_timestamp_seconds)",
        }),
    ),
}  # fmt: skip

BOARDS: Final = {
    "on-call": ("Qingliu on call 值班", ON_CALL),
    "moderation": ("Qingliu moderation 治理", MODERATION),
    "rules": ("Qingliu rules 规则", RULES),
}


def _graph(panel: Panel) -> timeseries.Panel:
    legend = VizLegendOptions().display_mode(LegendDisplayMode.LIST).placement(LegendPlacement.BOTTOM).show_legend(True)  # noqa: FBT003  the SDK's
    made = timeseries.Panel().title(panel.title).description(panel.says).unit(panel.unit).datasource(_SOURCE)
    made = made.span(_SPAN).height(_HEIGHT).fill_opacity(10).legend(legend)
    for at, (name, query) in enumerate(panel.queries.items()):
        made = made.with_target(prometheus.Dataquery().expr(query).legend_format(name).ref_id(chr(65 + at)).range())
    return made


def board(name: str) -> str:
    """Return a dashboard as JSON."""
    title, rows = BOARDS[name]
    made = dashboard.Dashboard(title).uid(f"qingliu-{name}").tags(["qingliu"]).refresh("10s").time("now-1h", "now")
    made = made.timezone("browser").readonly()
    for row, panels in rows.items():
        made = made.with_row(dashboard.Row(row))
        for panel in panels:
            made = made.with_panel(_graph(panel))
    return JSONEncoder(sort_keys=True, indent=1, ensure_ascii=False).encode(made.build()) + "\n"


if __name__ == "__main__":
    for board_name in BOARDS:
        (WHERE / f"{board_name}.json").write_text(board(board_name), "utf-8")
