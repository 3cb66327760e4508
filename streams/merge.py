"""Many processes' metrics as one page: counters and histograms added up, gauges as the catalogue says.

prometheus_client's own mode for processes is not used: under it no metric may be cleared, information and the
process's own figures are left out, and files of the dead stay (its documentation, "Multiprocess Mode"). Here each
process serves its own page, as it does alone, and what is merged is those pages.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families

from streams.metrics import ADDED, LOWEST

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping

#: Name of a sample and its labels.
Key = tuple[str, tuple[tuple[str, str], ...]]
_MOUNTING: Final = ("counter", "histogram", "summary")


class Merged:
    """Pages to one page. What a process counted before it ended stays counted.

    A sum that falls would look like a restart of all, and what the others had counted be counted again.
    """

    def __init__(self) -> None:
        self._last: dict[int, dict[Key, float]] = {}
        self._gone: Counter[Key] = Counter()
        self._families: dict[str, tuple[str, str]] = {}

    def merge(self, pages: Mapping[int, str], running: Collection[int]) -> list[Metric]:
        """Merge pages by process id. One that runs and did not answer counts as when it last did."""
        read = {pid: list(text_string_to_metric_families(page)) for pid, page in pages.items()}
        for pid, families in read.items():
            self._last[pid] = dict(_samples(family for family in families if family.type in _MOUNTING))
        for pid in set(self._last).difference(running):
            self._gone.update(self._last.pop(pid))
        self._families |= {f.name: (f.documentation, f.type) for families in read.values() for f in families}
        values = _folded([self._gone, *self._last.values()], lambda _: sum)
        gauges = [dict(_samples(f for f in families if f.type not in _MOUNTING)) for families in read.values()]
        return self._page(values | _folded(gauges, _of_gauge))

    def _page(self, values: Mapping[Key, float]) -> list[Metric]:
        made = {name: Metric(name, said, kind) for name, (said, kind) in self._families.items()}
        for (name, labels), value in values.items():
            made[_family(name, made)].add_sample(name, dict(labels), value)
        return [metric for metric in made.values() if metric.samples]


def _samples(families: Iterable[Metric]) -> Iterator[tuple[Key, float]]:
    for family in families:
        for sample in family.samples:
            yield (sample.name, tuple(sample.labels.items())), sample.value


def _folded(
    many: Iterable[Mapping[Key, float]], how: Callable[[str], Callable[[list[float]], float]]
) -> dict[Key, float]:
    found: dict[Key, list[float]] = {}
    for one in many:
        for key, value in one.items():
            found.setdefault(key, []).append(value)
    return {key: how(key[0])(values) for key, values in found.items()}


def _of_gauge(name: str) -> Callable[[list[float]], float]:
    return sum if name in ADDED else min if name in LOWEST else max


def _family(sample: str, known: Collection[str]) -> str:
    """Return whose sample this is.

    >>> _family("seconds_bucket", ["seconds"])
    'seconds'
    """
    return next(name for name in (sample, sample.rpartition("_")[0]) if name in known)
