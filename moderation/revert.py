"""Mass revert: which of the actions a ledger lists are meant, and which of those stand without the bad rule.

Pure: the ledger lists actions under facets, this tells which of them to undo.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from moderation.decide import doubted

if TYPE_CHECKING:
    from moderation.actions import Action, Which
    from moderation.ruleset import RuleSet

#: The facet under which every action is listed.
ANY: Final = "any"


def facets(action: Action) -> tuple[str, ...]:
    """Return what an action is listed under: each of its rules, its campaign, server and label. An undoing is not."""
    if action.reverts is not None:
        return ()
    server = action.evidence.where.server_id if action.evidence else ""
    named = (("campaign", action.campaign_id), ("server", server), ("label", action.label))
    return (ANY, *(f"rule:{rule.id}" for rule in action.rules), *(f"{kind}:{name}" for kind, name in named if name))


def narrowest(which: Which) -> str:
    """Return the facet that lists the fewest of the actions which may be meant."""
    named = (
        ("rule", which.rule),
        ("campaign", which.campaign_id),
        ("server", which.server_id),
        ("label", which.label),
    )
    return next((f"{kind}:{name}" for kind, name in named if name), ANY)


def covers(which: Which, action: Action) -> bool:
    """Tell whether an action is meant, whatever else justifies it."""
    where = action.evidence.where.server_id if action.evidence else None
    return (
        action.reverts is None
        and (which.rule is None or any(_is(which, rule.id, rule.revision) for rule in action.rules))
        and which.campaign_id in (None, action.campaign_id)
        and which.server_id in (None, where)
        and which.label in (None, action.label)
        and which.ruleset in (None, action.ruleset)
        and (which.since is None or which.since <= action.created_at)
        and (which.until is None or action.created_at < which.until)
    )


def justified(which: Which, action: Action, rules: RuleSet) -> bool:
    """Tell whether the rules that are live still, without the one to be undone, would have been enough to act.

    Counted with the points they gave then. Where no rule is named nothing is justified; nor is what a campaign or a
    human did, which did not rest on points.
    """
    if which.rule is None or action.label is None or action.label not in rules.policy.labels or action.campaign_id:
        return False
    live = {rule.id for rule in rules.rules if rule.status == "live"}
    others = [r.weight for r in action.rules if r.id in live and not _is(which, r.id, r.revision)]
    return doubted(others) >= rules.policy.labels[action.label].bar(wary=_may_be_wary(action))


def _may_be_wary(action: Action) -> bool:
    """Tell whether words may have been all there was against a settled player; evidence tells no account's age."""
    known = action.evidence
    return known is not None and not known.what.handles and known.who.tier != "new"


def _is(which: Which, rule: str, revision: str) -> bool:
    return rule == which.rule and which.revision in (None, revision)
