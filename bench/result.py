"""What a run of the benchmark gave: figures by part, ratios between them, and what it was measured on."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from msgspec import Struct

from bench.machine import Machine
from bench.part import Scale, Spread, spread

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

#: A ratio and the two figures it is made of, of one part, so that both were measured by turns.
RATIOS: Final = {
    "stream_vs_stock_faust": ("stream.worker_per_s", "stream.stock_faust_per_s"),
    "stream_vs_bare_loop": ("stream.worker_per_s", "stream.bare_loop_per_s"),
    "stream_vs_confluent_loop": ("stream.worker_per_s", "stream.confluent_loop_per_s"),
    "batch_vs_stock_faust": ("stream.batch_transport_per_s", "stream.stock_faust_per_s"),
    "batch_vs_bare_loop": ("stream.batch_transport_per_s", "stream.bare_loop_per_s"),
    "transport_vs_stock_faust": ("transport.batch_transport_per_s", "transport.stock_faust_per_s"),
    "transport_vs_bare_loop": ("transport.batch_transport_per_s", "transport.bare_loop_per_s"),
    "transport_vs_confluent_loop": ("transport.batch_transport_per_s", "transport.confluent_loop_per_s"),
    "engine_vs_jieba_every_message": ("engine.clean_per_s", "engine.jieba_per_s"),
    "engine_vs_jieba_with_hmm": ("engine.clean_per_s", "engine.jieba_with_hmm_per_s"),
    "engine_vs_rjieba_every_message": ("engine.clean_per_s", "engine.rjieba_per_s"),
    "lexicon_50k_vs_1k": ("growth.lexicon_50000_us", "growth.lexicon_1000_us"),
    "lexicon_200k_vs_1k": ("growth.lexicon_200000_us", "growth.lexicon_1000_us"),
    "rules_1000_vs_10": ("growth.rules_1000_us", "growth.rules_10_us"),
    "two_workers_vs_one": ("scale.workers_2_per_s", "scale.partitions_8_per_s"),
    "eight_partitions_vs_one": ("scale.partitions_8_per_s", "scale.partitions_1_per_s"),
}
#: Of what grows by itself, the last point against the first, wherever these are.
GROWN: Final = ("life.messages", "growth.senders")
#: Ours among the peers.
_ENGINE: Final = "peers.engine_per_s"
_POINT: Final = re.compile(r"((?:growth|life)\.[a-z]+)_(\d+)_us")


class Result(Struct, frozen=True):
    """One run. Figures are named `part.figure`; `missing` says by step why it could not be measured."""

    scale: Scale
    at: str
    took_s: float
    commit: str
    machine: Machine
    figures: dict[str, Spread]
    ratios: dict[str, Spread]
    missing: dict[str, str]

    def median(self, name: str) -> float | None:
        """Return a figure, or a ratio; None where it was not measured."""
        found = self.figures.get(name) or self.ratios.get(name)
        return found.median if found else None

    def part(self, name: str) -> dict[str, Spread]:
        """Return the figures of a part, without its name."""
        return {key.partition(".")[2]: one for key, one in self.figures.items() if key.startswith(f"{name}.")}

    def plain(self) -> dict[str, Any]:
        """Return what `--json` prints, but for the targets: medians by name, and the spread of each."""
        whole = {"figures": self.figures, "ratios": self.ratios}
        return {
            "commit": self.commit,
            "at": self.at,
            "scale": self.scale,
            "took_s": round(self.took_s, 1),
            "machine": self.machine,
            "missing": self.missing,
            **{name: {key: one.median for key, one in values.items()} for name, values in whole.items()},
            "spreads": {
                name: {key: {"low": one.low, "high": one.high, "rounds": one.rounds} for key, one in values.items()}
                for name, values in whole.items()
            },
        }


def points(figures: Mapping[str, object]) -> dict[str, list[int]]:
    """Return how far each thing grew, in order: {"growth.lexicon": [1000, 50000]}."""
    found: dict[str, list[int]] = {}
    for match in filter(None, map(_POINT.fullmatch, figures)):
        found.setdefault(match[1], []).append(int(match[2]))
    return {what: sorted(sizes) for what, sizes in found.items()}


def ratios(rounds: Mapping[str, Sequence[float]]) -> dict[str, Spread]:
    """Divide figures round by round; those that were not measured have no ratio."""
    return {
        name: spread([one / other for one, other in zip(rounds[over], rounds[under], strict=False) if other])
        for name, (over, under) in pairs(rounds)
        if over in rounds and under in rounds and any(rounds[under])
    }


def pairs(rounds: Mapping[str, object]) -> Iterator[tuple[str, tuple[str, str]]]:
    """Yield each ratio by name with the two figures it is made of, whether or not they are among those measured."""
    yield from RATIOS.items()
    for what, sizes in points(rounds).items():
        if what in GROWN and len(sizes) > 1:
            yield f"{what.partition('.')[2]}_last_vs_first", (f"{what}_{sizes[-1]}_us", f"{what}_{sizes[0]}_us")
    for name in rounds:
        if name.startswith("peers.") and name.endswith("_per_s") and name != _ENGINE:
            peer = name.removeprefix("peers.").removesuffix("_per_s")
            yield f"engine_vs_{peer}", (_ENGINE, name)
