"""Every metric there is, in one place. Dashboards, alerts and the runbook may name these and no others.

Seconds, `_total`, `_info`; no label comes from a player, a text, a guild or a handle. Labels are closed sets that exist
from the start (an alert on a counter that is not there yet never fires), or ids that operators choose: rules, topics,
partitions.
"""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING, Any, Final, get_args, get_type_hints

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

from moderation.actions import Ack, ActionKind, Case, Label
from moderation.errors import DeadReason
from moderation.events import Channel

if TYPE_CHECKING:
    from collections.abc import Iterator

    from prometheus_client.metrics_core import Metric

#: The label of a verdict or a manual action that has none.
NO_LABEL: Final = "none"
OUTCOMES: Final = ("allow", "review", "act", "dead_letter")
COMMANDS: Final = (
    "mute", "ban", "revert", "forgive", "revert_many", "appeal", "answer_appeal", "allow_handle", "mark_handle",
    "unmark_handle",
)  # fmt: skip
COMMAND_STATUSES: Final = (
    "done", "unknown_action", "unknown_appeal", "already_appealed", "already_answered", "schema",
)  # fmt: skip
RELOADS: Final = ("ok", "rejected")
CANARIES: Final = ("answered", "lost", "unsent")

#: Of several processes behind one port (streams/merge.py) these gauges are added up, and of these the lowest counts.
#: Of all others it is the highest; counters and histograms are added up.
ADDED: Final = frozenset({"qingliu_partitions", "qingliu_windows_senders", "qingliu_unrecorded_actions"})
LOWEST: Final = frozenset(
    {
        "qingliu_broker_up",
        "qingliu_store_up",
        "qingliu_rules_revision",
        "qingliu_ruleset_loaded_timestamp_seconds",
        "process_max_fds",
    }
)

_LABELS: Final = (*get_args(Label), NO_LABEL)
# The objective is 20 ms at the median and 100 ms at the 99th percentile: both are bounds, with neighbours on each side.
_LATENCY_S: Final = (0.005, 0.01, 0.02, 0.035, 0.05, 0.075, 0.1, 0.15, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
_AGE_S: Final = (0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 1.0, 1.5, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 3600.0)
_WORK_S: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 30.0)
_RECORDS: Final = (1, 2, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 10_000)


class Registry(CollectorRegistry):
    """A registry without the `_created` series, which double the page and which nothing of ours reads."""

    def collect(self) -> Iterator[Metric]:
        """Return all metrics, as the library does, but for those series."""
        for metric in super().collect():
            metric.samples = [sample for sample in metric.samples if not sample.name.endswith("_created")]
            yield metric


class Catalogue:
    """Metrics in a registry, with the process's memory, descriptors and processor time under their usual names.

    An attribute is called like its metric without `qingliu_` and `_total`. `labels(...).inc()` costs about 2 µs: sum up
    a batch, then count once.
    """

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        self.registry: Final = registry if registry is not None else Registry()
        self.broker_up = self._gauge("broker_up", "1 while the broker answers an independent poll.")
        self.store_up = self._gauge("store_up", "1 while the store answers an independent poll.")
        self.lag_records = self._gauge("lag_records", "Records not committed yet.", "topic", "partition")
        self.stalled_seconds = self._gauge(
            "stalled_seconds", "How long a partition with records waiting has not moved on.", "topic", "partition"
        )
        self.log_lines_suppressed = self._counter("log_lines_suppressed", "Lines not logged: too many were alike.")
        self._define()
        ProcessCollector(registry=self.registry)

    def _define(self) -> None:
        """Define what only this process has."""
        raise NotImplementedError

    def _counter(self, name: str, says: str, *labels: str, of: Any = ()) -> Counter:
        metric = Counter(f"qingliu_{name}", says, labels, registry=self.registry)
        for values in product(*of) if of else ():
            metric.labels(*values)
        return metric

    def _gauge(self, name: str, says: str, *labels: str) -> Gauge:
        return Gauge(f"qingliu_{name}", says, labels, registry=self.registry)

    def _histogram(self, name: str, says: str, buckets: tuple[float, ...]) -> Histogram:
        return Histogram(f"qingliu_{name}", says, buckets=buckets, registry=self.registry)


class Metrics(Catalogue):
    """What a worker counts."""

    def _define(self) -> None:
        self._events()
        self._answers()
        self._work()
        self._state()

    def _events(self) -> None:
        self.received = self._counter("received", "Records taken in hand; again when they come again.", "topic")
        self.outcomes = self._counter(
            "outcomes", "Chat records finished, each in exactly one way.", "outcome", of=[OUTCOMES]
        )
        self.verdicts = self._counter("verdicts", "Events judged.", "verdict", "label", "channel")
        for channel in get_args(Channel):
            self.verdicts.labels("allow", NO_LABEL, channel)
            for verdict, label in product(("review", "act"), get_args(Label)):
                self.verdicts.labels(verdict, label, channel)
        self.rule_hits = self._counter("rule_hits", "Events a rule matched.", "rule", "status")
        self.dead_letters = self._counter(
            "dead_letters",
            "Records that could not be understood.",
            "reason",
            of=[[str(reason) for reason in DeadReason]],
        )
        self.event_age_seconds = self._histogram(
            "event_age_seconds", "Age of a batch's oldest event when its effects are durable.", _AGE_S
        )

    def _answers(self) -> None:
        self.actions = self._counter(
            "actions", "Actions the broker acknowledged.", "action", "label", "mode",
            of=[get_args(ActionKind), _LABELS, ("auto", "manual")],
        )  # fmt: skip
        self.cases = self._counter(
            "cases", "Cases put before a human.", "why", of=[get_args(get_type_hints(Case)["why_human"])]
        )
        self.commands = self._counter(
            "commands", "Commands of moderators that were carried out or refused.", "command", "status",
            of=[COMMANDS, COMMAND_STATUSES],
        )  # fmt: skip
        self.enforcement_latency_seconds = self._histogram(
            "enforcement_latency_seconds", "From the event's time to the acknowledged action.", _LATENCY_S
        )

    def _work(self) -> None:
        self.batch_records = self._histogram("batch_records", "Records in a batch.", _RECORDS)
        self.batch_seconds = self._histogram("batch_seconds", "From a batch in hand to its acknowledgement.", _WORK_S)
        self.judge_seconds = self._histogram("judge_seconds", "Processor time to judge one batch.", _WORK_S)
        self.loop_lag_seconds = self._histogram(
            "loop_lag_seconds", "How late the event loop runs what is due.", _WORK_S
        )
        self.produce_retries = self._counter("produce_retries", "Records sent again because none acknowledged them.")
        self.store_seconds = self._histogram("store_seconds", "How long an answer of the ledger took.", _WORK_S)
        self.store_errors = self._counter("store_errors", "Times the ledger could not be asked.")
        self.stale_batches = self._counter("stale_batches", "Deeds left to the worker that took over the partition.")
        self.rebalances = self._counter("rebalances", "Times the group gave this worker its partitions.")

    def _state(self) -> None:
        self.degraded = self._gauge("degraded", "1 while events are judged without history.")
        self.partitions = self._gauge("partitions", "Partitions this worker holds.")
        self.windows_senders = self._gauge("windows_senders", "Timelines whose recent messages are in memory.")
        self.windows_evicted = self._counter(
            "windows_evicted", "Timelines dropped for want of room that a rule could still have counted on."
        )
        self.unrecorded_actions = self._gauge("unrecorded_actions", "Actions sent that the ledger does not know yet.")
        self.ruleset_reloads = self._counter(
            "ruleset_reloads", "Attempts to take a new rule set.", "result", of=[RELOADS]
        )
        self.ruleset_loaded_timestamp_seconds = self._gauge(
            "ruleset_loaded_timestamp_seconds", "When the rule set in force was taken."
        )
        self.appeals_open = self._gauge("appeals_open", "Appeals that wait for an answer, whoever is asked.")
        self.appeals_overdue = self._gauge("appeals_overdue", "Appeals whose answer is overdue, whoever is asked.")
        self.rule_overturned = self._gauge(
            "rule_overturned", "1 while a rule is left to humans: too many appeals against it were granted.", "rule"
        )
        self.rule_out_of_band = self._gauge(
            "rule_out_of_band", "1 while a rule is left to humans: it hit more than its band allows.", "rule"
        )
        self.rules_revision = self._gauge("rules_revision", "Revision of the rules in force; 0 is the own directories.")
        self.rules_published = self._gauge("rules_published", "The newest revision that this worker has seen.")
        self.ruleset_info = Info("qingliu_ruleset", "Hash of the rule set in force.", registry=self.registry)


class OutsideMetrics(Catalogue):
    """What the observer counts, who reads the topics like a game server does: see streams/observer.py."""

    def _define(self) -> None:
        self.acks = self._counter(
            "acks", "What game servers did with actions.", "status", of=[get_args(get_type_hints(Ack)["status"])]
        )
        self.ack_latency_seconds = self._histogram(
            "ack_latency_seconds", "From the event's time to the game server's ack.", _LATENCY_S
        )
        self.awaiting_ack = self._gauge("awaiting_ack", "Actions sent and not acknowledged yet.")
        self.unacknowledged = self._counter("unacknowledged", "Actions that no game server acknowledged in time.")
        self.canaries = self._counter("canaries", "Canary messages by what became of them.", "result", of=[CANARIES])
        self.canary_latency_seconds = self._histogram(
            "canary_latency_seconds", "From a canary's sending to the action that answers it.", _LATENCY_S
        )
        self.store_memory_bytes = self._gauge("store_memory_bytes", "Memory the store uses.")
        self.store_max_memory_bytes = self._gauge("store_max_memory_bytes", "Memory it may use; 0 = no limit.")
        self.store_keys = self._gauge("store_keys", "Keys in the store.")
        self.campaigns_open = self._gauge("campaigns_open", "Campaigns whose newest member is not forgotten yet.")


def of_processes(wanted: int, answering: int, restarts: int) -> Iterator[Metric]:
    """Return what is known of several processes behind one port, and of none of them alone."""
    yield GaugeMetricFamily("qingliu_processes_wanted", "Worker processes there should be.", wanted)
    yield GaugeMetricFamily("qingliu_processes", "Worker processes that answer.", answering)
    yield CounterMetricFamily(
        "qingliu_process_restarts", "Worker processes that ended and were started again.", restarts
    )
