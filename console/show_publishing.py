"""Publishing on a terminal: what would change, what is in force, who runs it."""

from __future__ import annotations

from difflib import unified_diff
from typing import TYPE_CHECKING

from rich import box
from rich.console import Group
from rich.table import Table
from rich.text import Text

from console import trust
from console.campaigns import moment
from console.show import visible
from console.words import say

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from rich.console import RenderableType

    from console.publishing import Draft, Status
    from moderation.change import Change, TermChange
    from streams.bundle import Layers
    from streams.publications import Proposal, Revision, WorkerState

#: Terms of a class that are named; of more, how many there are.
TERMS: int = 12


def preview(draft: Draft) -> Group:
    """Show what a draft would change."""
    over = draft.over
    now = say(f"版本 {over.number}", f"revision {over.number}") if over else say("还没有发布过", "nothing published")
    head = f"{now} → {say('版本', 'revision')} {draft.revision.number}  {draft.revision.ruleset}"
    return Group(Text(head, "bold"), changes(draft.change))


def changes(made: Change) -> Group:
    """Show what differs: rules, terms, the rest; and why it takes two people, if it does."""
    return Group(*_changes(made))


def _changes(made: Change) -> Iterator[RenderableType]:
    if not made:
        yield Text(say("判定上没有差别", "nothing is judged differently"), "dim")
        return
    if made.rules:
        table = _table(say("规则", "rule"), say("状态", "status"), say("改了", "differs in"))
        for one in made.rules:
            status = one.after if one.before == one.after else f"{one.before or '—'} → {one.after or '—'}"
            fields = [field for field in one.fields if field != "status"]
            table.add_row(visible(one.id), Text(status, "yellow" if "→" in status else ""), "、".join(fields))
        yield table
    if made.terms:
        table = _table(say("词库", "lexicon"), "+", "-", say("改", "changed"))
        for term in made.terms:
            table.add_row(visible(term.lexicon), *_terms(term))
        yield table
    if made.other:
        yield Text(f"{say('其他', 'other')}：{visible('、'.join(made.other))}")
    if made.can_ban:
        yield Text(
            f"{say('可能多封人，要第二个人看过', 'may ban whom nothing banned: a second person must look')}："
            f"{visible('、'.join(made.can_ban[:TERMS]))}{_more(len(made.can_ban))}",
            "bold red",
        )


def _terms(term: TermChange) -> Iterator[Text]:
    for texts, style in ((term.added, "green"), (term.removed, "red"), (term.changed, "yellow")):
        yield Text(visible("、".join(texts[:TERMS])) + _more(len(texts)), style)


def _more(count: int) -> str:
    return say(f" 等 {count} 个", f" … {count} in all") if count > TERMS else ""


def status(found: Status) -> Group:
    """Show the revision in force, workers, proposals, history."""
    parts: list[RenderableType] = [_workers(found)]
    if found.left:
        parts.append(trust.table(found.left))
    parts.extend(map(_unreviewed, found.unreviewed))
    if found.proposals:
        parts.append(_proposals(found.proposals))
    parts.append(_history(found.history))
    return Group(*parts)


def _unreviewed(one: Revision) -> Text:
    said = say(
        f"退回的版本 {one.number}（{one.author}：{one.reason}）还没有别人复核：qingliu rules approve {one.number}",
        f"nobody else has looked at roll-back {one.number} ({one.author}: {one.reason}): qingliu rules approve "
        f"{one.number}",
    )
    return Text(visible(said), "bold red")


def _workers(found: Status) -> Group:
    table = _table(say("进程", "worker"), say("版本", "revision"), say("规则集", "rule set"), say("起", "since"), "")
    for one in found.workers:
        table.add_row(
            visible(one.worker), _from(one), one.ruleset, moment(one.since), Text(visible(one.refused), "red")
        )
    said = say("没有进程在运行", "no worker is running") if not found.workers else ""
    verdict = say("一致", "all agree") if found.agree else say("不一致", "they do not agree")
    return Group(table, Text(said or verdict, "green" if found.agree and found.workers else "bold red"))


def _from(one: WorkerState) -> str:
    return str(one.revision) if one.revision else say("自己的目录", "own directories")


def _proposals(waiting: Iterable[Proposal]) -> Table:
    table = _table(say("待批准", "waits"), say("作者", "author"), say("理由", "reason"), say("可能多封人的", "can ban"))
    for one in waiting:
        because = visible("、".join(one.because[:TERMS])) + _more(len(one.because))
        table.add_row(visible(one.id), visible(one.revision.author), visible(one.revision.reason), because)
    return table


def _history(revisions: Iterable[Revision]) -> Table:
    names = (say("版本", "revision"), say("时间", "time"), say("规则集", "rule set"))
    table = _table(*names, say("作者", "author"), say("批准", "approver"), say("理由", "reason"))
    for one in revisions:
        back = say(f"（退回 {one.restores}）", f" (back to {one.restores})") if one.restores else ""
        cells = (str(one.number), moment(one.at), one.ruleset, one.author, one.approver or "—", one.reason + back)
        table.add_row(*(Text(visible(cell)) for cell in cells))
    return table


def texts(old: Layers, new: Layers) -> Text:
    """Show the lines of the files that differ."""
    out = Text()
    for number in range(max(len(old), len(new))):
        was, now = (layers[number] if number < len(layers) else {} for layers in (old, new))
        for file in sorted({*was, *now}):
            before, after = (_lines(layer.get(file, b"")) for layer in (was, now))
            for line in unified_diff(before, after, file, file, lineterm="", n=2):
                style = {"+": "green", "-": "red", "@": "cyan"}.get(line[0], "")
                out.append(visible(line) + "\n", style)
    return out


def _lines(content: bytes) -> list[str]:
    return content.decode(errors="replace").splitlines()


def _table(*columns: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in columns:
        table.add_column(Text(name), overflow="fold")
    return table
