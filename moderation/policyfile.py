"""policy.yaml and the way it becomes a `Policy`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, get_args

from msgspec.structs import fields

from moderation.actions import Label
from moderation.alike import DISGUISES
from moderation.band import Band
from moderation.context import TIERS, Bounds, Tier
from moderation.policy import AppealPolicy, CampaignPolicy, LabelPolicy, Ladder, Policy, Step, parse_step
from moderation.windows import MOST_SPENT

if TYPE_CHECKING:
    from collections.abc import Mapping

    from moderation.document import Node, Problems

_TOP: Final = (
    "tiers",
    "labels",
    "ladders",
    "void_after_s",
    "case_due_h",
    "breaker_per_minute",
    "band",
    "disguises",
    "campaigns",
    "appeals",
)
_BOUNDS: Final = ("vip_at_least", "new_age_days", "new_level", "established_days")

_LABEL: Final = ("review", "act", "ladder", "告知")
_CAMPAIGNS: Final = tuple(field.name for field in fields(CampaignPolicy))
#: More distinct senders than that are not waited for before a rule is judged by its band.
MOST_BAND_SENDERS: Final = 10_000
#: The most that each number about appeals may be.
APPEALS: Final = {
    "first_answer_h": 720, "final_answer_h": 720, "window_days": 90, "at_least": 10_000, "overturned_percent": 100,
}  # fmt: skip


def read_policy(problems: Problems, node: Node) -> Policy | None:
    """Read policy.yaml; None where it is unusable (the problems say why)."""
    top = problems.mapping(node, _TOP, ("tiers", "labels", "ladders"))
    if len(top.keys() & {"tiers", "labels", "ladders"}) < 3:
        return None
    tiers = problems.mapping(top["tiers"], _BOUNDS, _BOUNDS)
    ladders = {name: _ladder(problems, name, child) for name, child in problems.entries(top["ladders"]).items()}
    labels = problems.mapping(top["labels"], get_args(Label), get_args(Label))
    return Policy(
        bounds=Bounds(**{k: problems.integer(v, 0, 0, 100_000) for k, v in tiers.items()}),
        labels={name: _label(problems, child, ladders) for name, child in labels.items()},  # type: ignore[misc]  # keys are Labels
        ladders=ladders,
        void_after_s=problems.integer(top.get("void_after_s"), 600, 10, 86_400),
        case_due_h=problems.integer(top.get("case_due_h"), 24, 1, 720),
        breaker_per_minute=problems.integer(top.get("breaker_per_minute"), 0, 0, MOST_SPENT),
        band=read_band(problems, top["band"]) if "band" in top else Band(),
        disguises=_disguises(problems, top.get("disguises")),
        campaigns=_campaigns(problems, top.get("campaigns")),
        appeals=_appeals(problems, top.get("appeals")),
    )


def read_band(problems: Problems, node: Node) -> Band:
    """Read the band of a rule, or the one of policy.yaml for those without."""
    entry = problems.mapping(node, ("at_most", "senders"), ("at_most",))
    most = problems.share(entry.get("at_most"), Band().at_most_ppm)
    return Band(most, problems.integer(entry.get("senders"), Band().senders, 2, MOST_BAND_SENDERS))


def _disguises(problems: Problems, node: Node | None) -> dict[str, int]:
    entry = problems.mapping(node, DISGUISES) if node else {}
    return {name: problems.integer(points, 0, 0, 100) for name, points in entry.items()}


def _campaigns(problems: Problems, node: Node | None) -> CampaignPolicy:
    entry = problems.mapping(node, _CAMPAIGNS) if node else {}
    policy = CampaignPolicy(**{name: problems.integer(value, 0, 1, 10**9) for name, value in entry.items()})
    if node and policy.accounts_ever > policy.members:
        problems.problem(node, "E405", ever=policy.accounts_ever, members=policy.members)
    return policy


def _appeals(problems: Problems, node: Node | None) -> AppealPolicy:
    entry = problems.mapping(node, APPEALS) if node else {}
    policy = AppealPolicy(**{name: problems.integer(value, 1, 1, APPEALS[name]) for name, value in entry.items()})
    if node and policy.final_answer_h < policy.first_answer_h:
        problems.problem(node, "E406", final=policy.final_answer_h, first=policy.first_answer_h)
    return policy


def _label(problems: Problems, node: Node, ladders: Mapping[str, Ladder]) -> LabelPolicy:
    entry = problems.mapping(node, ("review", "act", "act_settled", "ladder", "告知", "yields"), _LABEL)
    review = problems.integer(entry.get("review"), 40, 1, 100)
    act = problems.integer(entry.get("act"), 70, 1, 101)
    if act < review:
        problems.problem(node, "E401", act=act, review=review)
    settled = problems.integer(entry["act_settled"], act, act, 101) if "act_settled" in entry else None
    ladder = problems.choice(entry.get("ladder"), ladders, next(iter(ladders), ""))
    told, yields = problems.text(entry.get("告知"), most=100), problems.flag(entry.get("yields"))
    return LabelPolicy(review, act, ladder, told, yields, settled)


def _ladder(problems: Problems, name: str, node: Node) -> Ladder:
    if not name.isascii() or not name.replace("-", "").isalnum():
        problems.problem(node, "E404", name=f"{name:.20}")
    tiers = problems.mapping(node, TIERS, TIERS)
    steps: dict[Tier, tuple[Step, ...]] = {t: (Step(review=True),) for t in TIERS}
    for tier, child in tiers.items():
        rungs = [_step(problems, item) for item in problems.items(child)]
        if rungs:
            steps[tier] = tuple(rungs)  # type: ignore[index]  # mapping() let only tiers by
        else:
            problems.problem(child, "E402")
    return Ladder(name, steps)


def _step(problems: Problems, node: Node) -> Step:
    try:
        return parse_step(problems.text(node))
    except ValueError as exc:
        problems.problem(node, "E403", why=exc)
        return Step(review=True)
