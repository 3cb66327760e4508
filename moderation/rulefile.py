"""Rule files to `Contents`: reads what moderators wrote, and says everything that is wrong with it at once.

A rule set is one or more layers (directories), each a mapping of file name to bytes. Known names have a meaning:

    policy.yaml  game.yaml  handles.yaml  allowlist.yaml  guards.yaml  examples.yaml  lexicons/*.yaml
    and rules in every other *.yaml

A later layer adds to lexicons and allowlists, replaces rules of the same id, and overrides policy key by key. Its
examples.yaml adds tests to rules, by id, wherever these stand.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime, time, timedelta, timezone
from typing import TYPE_CHECKING, Final, get_args

import msgspec
import re2

from moderation.actions import Label
from moderation.document import Node, Problems, suggest
from moderation.errors import RuleSetRejected
from moderation.fold import fold
from moderation.handles import HandleFinder, HandleGrammar
from moderation.pattern import compile_pattern
from moderation.policyfile import read_policy
from moderation.rule import Boost, Canary, Count, CountBy, Distinct, Rule, Status, revision
from moderation.rulecondition import MAX_PATTERN, Conditions, joined
from moderation.ruleexample import read_examples, read_more_examples
from moderation.ruleset import Contents, RuleSet, Term
from moderation.windows import DEPTH, HORIZON_MS, MOST_SPENT

if TYPE_CHECKING:
    from moderation.conditions import Condition

Layer = Mapping[str, bytes]
#: Holds tests for rules of any layer.
EXAMPLES: Final = "examples.yaml"
_SPECIAL: Final = ("policy.yaml", "game.yaml", "handles.yaml", "allowlist.yaml", "guards.yaml", EXAMPLES)
_CHINA: Final = timezone(timedelta(hours=8))
_RULE: Final = (
    "id", "label", "说明", "owner", "status", "when", "unless", "context", "count", "score", "boosts", "because",
    "expires", "budget", "canary", "tests",
)  # fmt: skip
_NEEDED: Final = ("id", "label", "说明", "owner", "status", "score", "because", "tests")
#: Longest term; nobody writes longer ones, and jieba's window is 8 characters each side.
MAX_TERM: Final = 32


def load(layers: Sequence[Layer], *, plain: bool = False) -> RuleSet:
    """Read and compile layers, the shipped one first. Raises RuleSetRejected with every problem found."""
    return RuleSet(read(layers), plain=plain)


def read(layers: Sequence[Layer]) -> Contents:
    """Read layers without compiling them. Raises RuleSetRejected with every problem found."""
    problems = Problems()
    contents = _Reading(problems, layers).contents()
    if problems.found or contents is None:
        raise RuleSetRejected(tuple(sorted(set(problems.found))))
    return contents


class _Reading:
    """One pass over all files; problems go to `problems`."""

    def __init__(self, problems: Problems, layers: Sequence[Layer]) -> None:
        self._p = problems
        self._layers = [{name: problems.parse(name, raw) for name, raw in sorted(layer.items())} for layer in layers]

    def contents(self) -> Contents | None:
        game = self._merged("game.yaml")
        terms = [*self._lexicons(), *self._game_terms(game)]
        classes = {t.lexicon for t in terms}
        guards: dict[str, Condition] = {}
        conditions = Conditions(self._p, classes, guards)
        for node in self._special("guards.yaml"):
            for name, child in self._p.entries(node).items():
                condition = conditions.read(child)
                if condition is not None:
                    guards[name] = condition
        rules = self._tested(self._rules(conditions))
        policy = read_policy(self._p, self._merged("policy.yaml"))
        grammar = self._grammar(self._merged("handles.yaml"))
        allow = self._p.mapping(self._merged("allowlist.yaml", join=True), ("official_contacts", "phrases"))
        official = {k: tuple(self._p.texts(v)) for k, v in self._pairs(allow.get("official_contacts"))}
        phrases = tuple(self._p.texts(allow.get("phrases")))
        if policy is None or grammar is None:
            return None
        return Contents(
            tuple(rules.values()),
            tuple(terms),
            guards,
            policy,
            grammar,
            official,
            phrases,
            self._markup(game),
            self._emoji(game),
        )

    def _markup(self, game: Node) -> tuple[str, ...]:
        regexes = tuple(self._markups(game))
        if len(joined(regexes)) > 1:
            self._p.problem(game.value["markup"], "E304", "这些正则合起来太大，或互相妨碍；请写得简单些")
            return ()
        return regexes

    def _markups(self, game: Node) -> Iterator[str]:
        node = self._p.entries(game).get("markup")
        for item in self._p.items(node) if node else ():
            regex = self._p.text(item, most=MAX_PATTERN)
            try:
                found = compile_pattern(regex).search("")
            except re2.error as exc:
                self._p.problem(item, "E304", f"正则写法不对（RE2）：{exc!s:.120}")
            else:
                if found is None:
                    yield regex
                else:
                    self._p.problem(item, "E305", "这个正则什么都能匹配")

    def _emoji(self, game: Node) -> dict[str, str]:
        node = self._p.entries(game).get("emoji")
        words = {}
        for key, child in self._p.entries(node).items() if node else ():
            sign = fold(key).text
            if len(sign) == 1 and not sign.isalnum():
                words[sign] = self._p.text(child, most=MAX_TERM)
            else:
                self._p.problem(child, "E212", f"「{key:.20}」不是一个表情符号")
        return words

    def _special(self, name: str) -> Iterator[Node]:
        for layer in self._layers:
            for file, node in layer.items():
                if _kind(file) == name:
                    yield node

    def _merged(self, name: str, *, join: bool = False) -> Node:
        nodes = list(self._special(name))
        whole = Node({}, name, 0, 0)
        if not nodes:
            self._p.problem(whole, "E201", f"缺少文件 {name}")
        for node in nodes:
            whole = _merge(whole, node, join=join)
        return whole

    def _pairs(self, node: Node | None) -> Iterator[tuple[str, Node]]:
        yield from self._p.entries(node).items() if node else ()

    def _lexicons(self) -> Iterator[Term]:
        seen: dict[tuple[str, str], Node] = {}
        for node in self._special("lexicons"):
            for name, child in self._p.entries(node).items():
                entry = self._p.mapping(child, ("说明", "disguised", "terms"), ("说明", "terms"))
                disguised = self._p.flag(entry.get("disguised"))
                for item in self._p.items(entry["terms"]) if "terms" in entry else ():
                    term = self._term(name, item, disguised=disguised)
                    if term and not self._repeated(seen, (name, fold(term.text).text), item):
                        yield term

    def _repeated(self, seen: dict[tuple[str, str], Node], key: tuple[str, str], item: Node) -> bool:
        first = seen.setdefault(key, item)
        if first is not item and first.file == item.file:
            self._p.problem(item, "E203", f"词条与第 {first.line} 行的重复（归一后都是「{key[1]}」）")
        return first is not item

    def _term(self, lexicon: str, item: Node, *, disguised: bool = False) -> Term | None:
        until = None
        text = item
        if isinstance(item.value, dict):
            entry = self._p.mapping(item, ("term", "until", "disguised"), ("term",))
            text, until = entry.get("term", item), self._day(entry.get("until"))
            disguised = self._p.flag(entry["disguised"]) if "disguised" in entry else disguised
        word = self._p.text(text, most=MAX_TERM)
        folded = fold(word).text.strip()
        if not folded:
            self._p.problem(item, "E204", f"词条「{word}」归一后什么也不剩，永远不会命中")
            return None
        if "&" in word or "~" in word:
            self._p.problem(item, "E205", "词条里不能写 & 和 ~ 组合；请在规则的 when 里用 all / none")
        return Term(word, lexicon, until, disguised)

    def _game_terms(self, game: Node) -> Iterator[Term]:
        """Turn the game's own names and its rivals' into the classes own_game and rival_game."""
        entry = self._p.mapping(game, ("own_names", "rival_names", "markup", "emoji"), ("own_names", "rival_names"))
        for key, lexicon in (("own_names", "own_game"), ("rival_names", "rival_game")):
            for item in self._p.items(entry[key]) if key in entry else ():
                term = self._term(lexicon, item)
                if term:
                    yield term
            yield Term("\x00", lexicon)  # the class exists even where the list is empty; NUL folds to nothing

    def _grammar(self, node: Node) -> HandleGrammar | None:
        try:
            grammar = msgspec.convert(node.data(), HandleGrammar, strict=False)
            HandleFinder(grammar)  # what folds to nothing, or breaks a pattern, shows only there
        except msgspec.ValidationError as exc:
            self._p.problem(node, "E202", f"handles.yaml 内容不对：{exc}")
        except (ValueError, re.error, re2.error) as exc:
            self._p.problem(node, "E213", f"handles.yaml 里有不能用的词或字符（空的，或全是符号）：{exc!s:.100}")
        else:
            return grammar
        return None

    def _rules(self, conditions: Conditions) -> dict[str, Rule]:
        out: dict[str, Rule] = {}
        for layer in self._layers:
            here: dict[str, Node] = {}
            for file, node in layer.items():
                for item in self._p.items(node) if _kind(file) == "rules" else ():
                    rule = self._rule(item, conditions)
                    if rule.id in here:
                        self._p.problem(
                            item, "E206", f"规则编号 {rule.id} 已在 {here[rule.id].file} 第 {here[rule.id].line} 行用过"
                        )
                    here[rule.id], out[rule.id] = item, rule
        return out

    def _tested(self, rules: dict[str, Rule]) -> dict[str, Rule]:
        """Add the tests of every layer's examples.yaml: a rule's own come first."""
        for node in self._special(EXAMPLES):
            for name, child in self._p.entries(node).items():
                hits, passes = read_more_examples(self._p, child)
                if name in rules:
                    old = rules[name]
                    rules[name] = msgspec.structs.replace(old, hits=(*old.hits, *hits), passes=(*old.passes, *passes))
                else:
                    self._p.problem(node.keys[name], "E214", f"没有规则 {name:.64}{suggest(name, rules)}")
        return rules

    def _rule(self, node: Node, conditions: Conditions) -> Rule:
        p, e = self._p, self._p.mapping(node, _RULE, _NEEDED)
        budget = e.get("budget")
        rule = Rule(
            id=self._id(e.get("id"), node),
            label=p.choice(e.get("label"), get_args(Label), "abuse"),  # type: ignore[arg-type]  # a Label by choice()
            note=p.text(e.get("说明")),
            owner=p.text(e.get("owner")),
            status=p.choice(e.get("status"), get_args(Status), "off"),  # type: ignore[arg-type]  # a Status by choice()
            score=p.integer(e.get("score"), 0, 0, 100),
            because=p.text(e.get("because")),
            when=conditions.read(e["when"]) if "when" in e else None,
            unless=conditions.several(e.get("unless")),
            context=conditions.contexts(e.get("context")),
            count=self._count(e.get("count")),
            boosts=tuple(self._boosts(e.get("boosts"), conditions)),
            expires_ms=self._day(e.get("expires")),
            budget=p.integer(budget, 0, 1, MOST_SPENT) if budget else None,
            canary=self._canary(e.get("canary")),
            file=node.file,
            line=node.line,
        )
        self._complete(rule, node)
        hits, passes = read_examples(p, node, e.get("tests"))
        return msgspec.structs.replace(rule, revision=revision(rule), hits=hits, passes=passes)

    def _complete(self, rule: Rule, node: Node) -> None:
        if rule.when is None and rule.count is None:
            self._p.problem(node, "E207", "规则没有条件：要有 when 或 count")
        if rule.status == "canary" and rule.canary is None:
            self._p.problem(node, "E208", "status 是 canary，要写 canary: {servers: […]} 或 {percent: 5}")

    def _id(self, node: Node | None, rule: Node) -> str:
        text = self._p.text(node, most=64)
        if not text or not all(c.isascii() and (c.isalnum() or c in ".-_") for c in text):
            self._p.problem(node or rule, "E209", "规则编号只用小写字母、数字和 . - _，例如 poach.cash-move")
        return text

    def _count(self, node: Node | None) -> Count | None:
        if node is None:
            return None
        p, keys = self._p, ("counter", "by", "distinct", "within", "at_least")
        e = p.mapping(node, keys, ("counter", "by", "within", "at_least"))
        return Count(
            counter=p.text(e.get("counter"), most=64),
            by=p.choice(e.get("by"), get_args(CountBy), "sender"),  # type: ignore[arg-type]  # by choice()
            distinct=p.choice(e.get("distinct"), get_args(Distinct), "message"),  # type: ignore[arg-type]  # by choice()
            within_s=p.integer(e.get("within"), 60, 1, HORIZON_MS // 1000),
            at_least=p.integer(e.get("at_least"), 2, 2, DEPTH),
        )

    def _boosts(self, node: Node | None, conditions: Conditions) -> Iterator[Boost]:
        for item in self._p.items(node) if node else ():
            entries = dict(self._p.entries(item))
            add = self._p.integer(entries.pop("add", None), 0, -100, 100)
            bare = Node(entries, item.file, item.line, item.column)
            bare.keys = item.keys
            condition = conditions.read(bare)
            if condition is not None:
                yield Boost(condition, add)

    def _canary(self, node: Node | None) -> Canary | None:
        if node is None:
            return None
        e = self._p.mapping(node, ("servers", "percent"))
        return Canary(frozenset(self._p.texts(e.get("servers"))), self._p.integer(e.get("percent"), 0, 0, 100))

    def _day(self, node: Node | None) -> int | None:
        """Return the end of that day in China, in milliseconds since 1970."""
        if node is None:
            return None
        try:
            day = date.fromisoformat(self._p.text(node)) + timedelta(days=1)
        except (ValueError, OverflowError):
            self._p.problem(node, "E210", "日期写成 2027-06-30 这样")
            return None
        return int(datetime.combine(day, time(), _CHINA).timestamp() * 1000)


def _kind(file: str) -> str:
    """Tell what a file holds from its name: the path may carry the layer's directory before it."""
    parts = file.replace("\\", "/").split("/")
    if len(parts) > 1 and parts[-2] == "lexicons":
        return "lexicons"
    return parts[-1] if parts[-1] in _SPECIAL else "rules"


def _merge(old: Node, new: Node, *, join: bool) -> Node:
    """Lay `new` over `old`, key by key; lists replace each other, or are joined."""
    if isinstance(old.value, dict) and isinstance(new.value, dict):
        out = Node(dict(old.value), new.file, new.line, new.column)
        out.keys = {**old.keys, **new.keys}
        for key, child in new.value.items():
            out.value[key] = _merge(old.value[key], child, join=join) if key in old.value else child
        return out
    if join and isinstance(old.value, list) and isinstance(new.value, list):
        return Node([*old.value, *new.value], new.file, new.line, new.column)
    return new if new.value != "" or not new.plain else old
