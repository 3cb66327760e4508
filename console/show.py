"""Chat text and what was decided about it, on a terminal.

Chat is hostile: whatever could hide, reorder or control is shown as a token, and text reaches Rich only as `Text`,
which knows no markup. Spans are code points of the raw text, so marking happens before anything is replaced.
"""

from __future__ import annotations

import re
import sys
import time
import unicodedata
from datetime import datetime
from itertools import groupby
from typing import TYPE_CHECKING, Final, Self

from rich import box
from rich.console import Console, Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from console import words
from console.words import say
from moderation.policy import spell

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from console.doctor import Check
    from console.revert import Undo
    from moderation.actions import Action, Handle, Span
    from moderation.events import ChatEvent
    from moderation.explain import Explanation, Missed, Part, Score, TermSeen
    from streams.settings import Setting

HIDDEN: Final = "reverse dim"
MATCH: Final = "bold red"
VERDICT: Final = {"allow": "green", "review": "yellow", "act": "bold red"}

#: Looks like nothing, though Unicode calls it a letter, a mark or a symbol.
_INVISIBLE: Final = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0")
#: Marks of these blocks are for stacking onto anything; those of scripts that need them are left alone.
_STACKING: Final = ((0x300, 0x36F), (0x1AB0, 0x1AFF), (0x1DC0, 0x1DFF), (0x20D0, 0x20FF), (0xFE20, 0xFE2F))
_SELECTORS: Final = ((0x180B, 0x180F), (0xFE00, 0xFE0F), (0xE0100, 0xE01EF))
#: How an explanation names a condition by its word in rule files.
_NAMED: Final = re.compile(r"(情境|信号|读法) (\w+)")
_SPACES: Final = frozenset(" \u3000")


def token(char: str) -> str:
    r"""Return what stands for a character that must not be printed; an empty string for one that may.

    >>> token("\n"), token("\u200b"), token("微")
    ('␊', '⟨U+200B⟩', '')
    """
    code = ord(char)
    if code < 0x20 or code == 0x7F:
        return chr(0x2421 if code == 0x7F else 0x2400 + code)
    hidden = unicodedata.category(char) in {"Cc", "Cf", "Cn", "Co", "Cs", "Zl", "Zp"} or char in _INVISIBLE
    blank = unicodedata.category(char) == "Zs" and char not in _SPACES
    stacked = any(low <= code <= high for low, high in (*_STACKING, *_SELECTORS))
    return f"⟨U+{code:04X}⟩" if hidden or blank or stacked else ""


def visible(raw: str) -> str:
    """Return text that is safe to print: what could hide, reorder or control is a token."""
    return raw if raw.isascii() and raw.isprintable() else "".join(token(c) or c for c in raw)


def marked(raw: str, spans: Iterable[Span] = (), *, around: int | None = None, style: str = MATCH) -> Text:
    """Return the text with `spans` (code points of `raw`) marked; `around`: only so much before the first one."""
    spots = {i for start, end in spans for i in range(max(0, start), min(end, len(raw)))}
    first = max(0, min(spots, default=0) - around) if around is not None else 0
    out = Text("…" if first else "", overflow="fold")
    for (matched, hidden), run in groupby(range(first, len(raw)), key=lambda i: (i in spots, bool(token(raw[i])))):
        text = "".join(token(raw[i]) or raw[i] for i in run)
        out.append(text, " ".join(filter(None, (style * matched, HIDDEN * hidden))))
    return out


def deed(action: Action) -> str:
    """Say an action as a moderator would: 撤回消息, 禁言 1小时, 封号 永久, 解除禁言."""
    if action.action == "revert":
        return words.UNDONE.get(str(action.scope), str(action.scope))
    length = spell(action.duration_s or 0)
    if action.action == "ban":
        return f"封号 {length}"
    where = "" if action.scope == "all" else " " + "、".join(words.CHANNELS.get(s, s) for s in action.scope)
    return f"{'影子禁言' if action.visibility == 'self_only' else '禁言'} {length}{where}"


def clock(ms: int) -> str:
    """Return the time of day in this machine's zone."""
    return f"{datetime.fromtimestamp(ms / 1000).astimezone():%H:%M:%S}"


# --- an explanation


def explanation(found: Explanation, event: ChatEvent) -> Group:
    """Show why a message was judged as it was, and what else nearly was."""
    return Group(*_sections(found, event))


def _sections(found: Explanation, event: ChatEvent) -> Iterator[RenderableType]:
    yield _message(found, event)
    yield _facts(found)
    if found.hits:
        yield _hits(found, event)
    if found.terms:
        yield _terms(found.terms, event)
    if found.missed:
        yield _missed(found.missed)


def _message(found: Explanation, event: ChatEvent) -> Panel:
    spans = [h.span for h in found.hits if h.span and h.field == "text"]
    spans += [h.span for h in found.handles if h.field == "text"]
    verdict = found.judgement.verdict
    title = Text.assemble((words.VERDICTS[verdict], VERDICT[verdict]), f" · {_score(found)}")
    lines = [marked(found.text, spans), Text(), *_decided(found)]
    return Panel(Group(*lines), title=title, title_align="left", subtitle=_speaker(event), subtitle_align="right")


def _score(found: Explanation) -> str:
    if not found.scores:
        return say("没有规则命中", "no rule hit")
    first = found.scores[0]
    bars = f"（{say('转人工', 'review')} {first.review_at}，{say('处罚', 'act')} {first.act_at}）"
    return _points(first) + bars


def _points(score: Score) -> str:
    """Say the points of a label, and how many are wanting."""
    to = say("处罚", "act") if score.points >= score.review_at else say("转人工", "review")
    short = f"，{say(f'离{to}差', f'short of {to} by')} {score.short:g}" if score.short else ""
    return f"{words.LABELS[score.label]} {score.points:g} {say('分', 'points')}{short}"


def _speaker(event: ChatEvent) -> Text:
    sender = event.sender
    said = [words.CHANNELS[event.channel]]
    said += [visible(sender.name)] if sender.name else []
    said += [f"{sender.level} 级"] if sender.level is not None else []
    said += [f"VIP{sender.vip}"] if sender.vip is not None else []
    return Text(" · ".join(said), "dim")


def _decided(found: Explanation) -> Iterator[Text]:
    actions, verdict = found.judgement.actions, found.judgement.verdict
    if actions:
        yield Text(f"{say('处置', 'Decided')}：{' + '.join(map(deed, actions))}", "bold")
    elif verdict == "allow":
        yield Text(f"{say('处置', 'Decided')}：{words.VERDICTS['allow']}", "bold")
    if found.why_human:
        suggested = " + ".join(found.suggested)
        yield Text(
            f"{say('转人工', 'To a human')}：{words.WHY_HUMAN[found.why_human]}；{say('建议', 'suggested')} {suggested}"
        )
    if actions:
        yield Text(f"{say('告知玩家', 'Player is told')}：{actions[0].reason_text}", "dim")


def _facts(found: Explanation) -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    rows = {
        say("归一后", "folded"): Text(visible(found.folded)),
        say("去分隔", "squeezed"): Text(visible(found.squeezed) if found.squeezed != found.folded else ""),
        say("分词", "words"): Text(" / ".join(map(visible, found.tokens))),
        say("另读出", "read as"): Text("，".join(dict.fromkeys(_read(found.terms))), "yellow"),
        say("联系方式", "handles"): Text("，".join(f"{h.type} {visible(h.value)}{_of(h)}" for h in found.handles)),
        say("伪装", "signals"): Text("，".join(words.SIGNALS[name] for name in found.signals), "yellow"),
        say("情境", "context"): Text("，".join(words.FACTS[name] for name in found.facts)),
        say("玩家分层", "tier"): Text(words.TIERS[found.tier] + _wary(found)),
        say("其他类别", "also"): Text("；".join(map(_points, found.scores[1:]))),
    }
    for name, value in rows.items():
        if value.plain:
            table.add_row(name, value)
    return table


def _wary(found: Explanation) -> str:
    """Say why more points are asked; nothing where none are asked."""
    why = say(
        "（不是新号，又没留联系方式：处罚线看 act_settled）", " (not new, and no contact: acted on from act_settled)"
    )
    return why if found.wary and found.scores else ""


def _read(terms: Iterable[TermSeen]) -> Iterator[str]:
    """Say what counts although it is not written: 袋练＝代练（谐音）."""
    for term in terms:
        if term.view not in ("plain", "squeezed") and not term.dropped and term.text != term.term:
            yield f"{visible(term.text)}＝{term.term}（{words.VIEWS[term.view]}）"


def _of(handle: Handle) -> str:
    said = [words.FIELDS[handle.field]] * (handle.field != "text") + [words.SIGNALS["disguised"]] * handle.obfuscated
    return f"（{'，'.join(said)}）" if said else ""


def _grid(title: str, *columns: str) -> Table:
    table = Table(title=Text(title, "bold"), title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for column in columns:
        table.add_column(Text(column), overflow="fold")
    return table


def _hits(found: Explanation, event: ChatEvent) -> Table:
    columns = ("规则", "类别", "分", "命中的字", "理由"), ("rule", "label", "points", "matched", "because")
    table = _grid(say("命中的规则", "Rules that hit"), *say_all(*columns))
    for hit in found.hits:
        shadow = {"shadow": "（影子，不计分）", "canary": "（灰度）"}.get(hit.status, "")
        matched = _piece(event, hit.field, hit.span, hit.view) if hit.span else Text(say("整条", "all of it"), "dim")
        rule = Text.assemble(hit.rule, (shadow, "dim"))
        because = Text(visible(hit.because)).append(_sum(found.parts[hit.rule]), "dim")
        table.add_row(rule, words.LABELS[hit.label], str(hit.weight), matched, because)
    return table


def _sum(parts: Sequence[Part]) -> str:
    """Say what made the points, on a line of its own, where it is more than the rule's own."""
    if len(parts) == 1:
        return ""
    more = (f" {part.points:+d} {visible(_NAMED.sub(_in_chinese, part.name))}" for part in parts[1:])
    return f"\n{parts[0].points}{''.join(more)}"


def _piece(event: ChatEvent, field: str, span: Span, view: str, meant: str = "") -> Text:
    """Cut what matched out of its field, and say where that was and how it was read, if not plainly in the text."""
    sender = event.sender
    raw = {"name": sender.name, "guild": sender.guild, "signature": sender.signature}.get(field) or event.text
    where = [words.FIELDS[field]] * (field != "text") + [words.VIEWS[view] + meant] * (view != "plain")
    piece = marked(raw[slice(*span)], [(0, span[1] - span[0])])
    return piece.append(f"（{'，'.join(where)}）", "dim") if where else piece


def _terms(terms: Sequence[TermSeen], event: ChatEvent) -> Table:
    columns = ("词库", "词", "算不算"), ("lexicon", "term", "counts")
    table = _grid(say("看到的词条", "Terms seen"), *say_all(*columns))
    for term in terms:
        counts = Text(f"不算：{term.dropped}", "yellow") if term.dropped else Text("算", "green")
        lexicon = "放行短语" if term.lexicon.startswith("=") else term.lexicon
        table.add_row(Text(lexicon), _piece(event, term.field, term.span, term.view, f"：{term.term}"), counts)
    return table


def _missed(missed: Sequence[Missed]) -> Table:
    columns = ("规则", "满足", "为什么没有命中", "若命中"), ("rule", "had", "why it did not hit", "if it had")
    table = _grid(say("差一点命中的规则", "Rules that nearly hit"), *say_all(*columns))
    for rule in missed:
        why = f"被放过：{rule.spared_by}" if rule.spared_by else f"缺 {'；'.join(rule.missing)}"
        reason = Text(visible(_NAMED.sub(_in_chinese, why)))
        table.add_row(Text(rule.rule), f"{rule.had}/{rule.of}", reason, _points(rule.would))
    return table


def _in_chinese(named: re.Match[str]) -> str:
    return f"{named[1]}“{(words.FACTS | words.SIGNALS | words.VIEWS).get(named[2], named[2])}”"


def say_all(zh: tuple[str, ...], en: tuple[str, ...]) -> tuple[str, ...]:
    """Return the row of words that the locale asks for."""
    return tuple(map(say, zh, en))


# --- other tables


def undone(undo: Undo, *, dry_run: bool) -> Table:
    """Show what is undone, and what became of the order."""
    action, table = undo.action, Table.grid(padding=(0, 2))
    rows = {say("指令", "command"): Text(undo.command.command_id)}
    if action:
        rows |= {
            say("撤销", "undo"): Text(f"{action.action_id} {deed(action)}"),
            say("账号", "account"): Text(action.target.account_id),
        }
        if action.evidence:
            rows |= {say("原文", "message"): marked(action.evidence.what.text, action.evidence.what.spans)}
            rows |= {say("理由", "because"): Text(visible("；".join(action.evidence.why.because)))}
    done = say("已发出", "sent") + f" {undo.revert.action_id}" if undo.revert else say("未等待", "not waited for")
    rows |= {say("结果", "result"): Text(say("只是预览", "a preview only") if dry_run else done, "bold")}
    for name, value in rows.items():
        table.add_row(Text(name, "dim"), value)
    return table


def checkup(checks: Iterable[Check]) -> Table:
    """Show what doctor found, each with what mends it."""
    table = Table.grid(padding=(0, 2))
    styles = {"OK": "green", "WARN": "yellow", "FAIL": "bold red"}
    for check in checks:
        table.add_row(
            Text(check.status, styles[check.status]), Text(check.name), Text(visible(check.says), overflow="fold")
        )
        if check.mend:
            table.add_row("", "", Text(f"→ {check.mend}", "cyan", overflow="fold"))
    return table


def settings_table(settings: Iterable[Setting]) -> Table:
    """Show every setting: name, value, source."""
    table = Table.grid(padding=(0, 2))
    for name, value, source in settings:
        table.add_row(
            Text(name), Text(visible(value), overflow="fold"), Text(source, "dim" if source == "default" else "yellow")
        )
    return table


class Tally:
    """A count of what is done and how fast, on stderr: live on a terminal, one line at the end elsewhere."""

    def __init__(self, verb: str, *, on: bool) -> None:
        self._verb, self._on, self._count, self._said = verb, on, 0, 0.0
        self._started = time.monotonic()

    def add(self, count: int) -> None:
        """Note that so many more are done."""
        self._count += count
        if self._on and sys.stderr.isatty() and time.monotonic() - self._said > 0.2:
            self._said = time.monotonic()
            sys.stderr.write(f"\r{self._line()} ")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._on:
            sys.stderr.write(("\r" if sys.stderr.isatty() else "") + self._line() + "\n")

    def _line(self) -> str:
        return f"{self._verb} {self._count}, {self._count / max(1e-9, time.monotonic() - self._started):.0f}/s"


def printer(*, stderr: bool = False) -> Console:
    """Return a console that adds nothing of its own to what it is given."""
    return Console(stderr=stderr, highlight=False, markup=False, emoji=False)
