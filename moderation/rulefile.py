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
from typing import TYPE_CHECKING, Final, NamedTuple, get_args

import msgspec
import re2

from moderation.actions import Label
from moderation.document import Node, Problems, nearest
from moderation.errors import RuleSetRejected
from moderation.fold import fold
from moderation.handles import HandleFinder, HandleGrammar
from moderation.lexiconfile import MAX_TERM, Lexicons
from moderation.pattern import compile_pattern
from moderation.policyfile import read_band, read_policy
from moderation.rule import Boost, Canary, Count, CountBy, Distinct, Rule, Status, revision
from moderation.rulecondition import MAX_PATTERN, Conditions, joined, refusal
from moderation.ruleexample import read_examples, read_more_examples
from moderation.ruleset import Contents, RuleSet, Term
from moderation.windows import DEPTH, HORIZON_MS, MOST_SPENT
from moderation.yamlfile import parse

if TYPE_CHECKING:
    from moderation.conditions import Condition
    from moderation.errors import RuleProblem

Layer = Mapping[str, bytes]
#: Holds tests for rules of any layer.
EXAMPLES: Final = "examples.yaml"
_SPECIAL: Final = ("policy.yaml", "game.yaml", "handles.yaml", "allowlist.yaml", "guards.yaml", EXAMPLES)
_RULE: Final = (
    "id", "label", "说明", "owner", "status", "when", "unless", "context", "count", "score", "boosts", "because",
    "starts", "expires", "review_by", "budget", "band", "canary",
    "tests",
)  # fmt: skip
_NEEDED: Final = ("id", "label", "说明", "owner", "status", "score", "because", "tests")


def load(layers: Sequence[Layer], *, plain: bool = False) -> RuleSet:
    """Read and compile layers, the shipped one first. Raises RuleSetRejected with every problem found."""
    return RuleSet(read(layers), plain=plain)


def read(layers: Sequence[Layer]) -> Contents:
    """Read layers without compiling them. Raises RuleSetRejected with every problem found."""
    made = draft(layers)
    if made.problems or made.contents is None:
        raise RuleSetRejected(made.problems)
    return made.contents


class Draft(NamedTuple):
    """What was read of layers, whatever is wrong with it, and where it stands.

    `contents` is None where nothing can be made of it. `terms` and `rules` are all there are, also those that say again
    what was said before, or that a later layer replaces. A place is the node it was read from.
    """

    contents: Contents | None
    problems: tuple[RuleProblem, ...]
    terms: tuple[tuple[Term, Node], ...]
    rules: tuple[tuple[Rule, Node], ...]
    classes: tuple[tuple[str, Node], ...]
    #: The classes that no rule has to ask for: their terms only stand before shorter ones within them.
    decoys: frozenset[str]
    guards: Mapping[str, Node]


def draft(layers: Sequence[Layer]) -> Draft:
    """Read layers, and say everything that is wrong with them, in the order of files and lines."""
    reading = _Reading(Problems(), layers)
    contents = reading.contents()
    problems = tuple(sorted(set(reading.problems.found)))
    return Draft(
        contents,
        problems,
        tuple(reading.lexicons.terms),
        tuple(reading.rules),
        tuple(reading.lexicons.classes),
        frozenset(reading.lexicons.decoys),
        reading.guards,
    )


class _Reading:
    """One pass over all files; problems go to `problems`."""

    def __init__(self, problems: Problems, layers: Sequence[Layer]) -> None:
        self.problems = self._p = problems
        self.lexicons = Lexicons(problems)
        self.rules: list[tuple[Rule, Node]] = []
        self.guards: dict[str, Node] = {}
        self._layers = [{name: parse(problems, name, raw) for name, raw in sorted(layer.items())} for layer in layers]

    def contents(self) -> Contents | None:
        game = self._merged("game.yaml")
        terms = self.lexicons.read([*self._special("lexicons")], game)
        classes = {t.lexicon for t in terms} | {name for name, _ in self.lexicons.classes}
        guards: dict[str, Condition] = {}
        whole = not any(node.unread and self._said_of(file) for layer in self._layers for file, node in layer.items())
        conditions = Conditions(self._p, classes, guards, self.lexicons.combined, whole=whole)
        for node in self._special("guards.yaml"):
            for name, child in self._p.entries(node).items():
                self.guards[name] = child
                condition = conditions.read(child)
                if condition is not None:
                    guards[name] = condition
                else:
                    conditions.broken.add(name)
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
            terms,
            guards,
            policy,
            grammar,
            official,
            phrases,
            self._markup(game),
            self._emoji(game),
            frozenset(self.lexicons.decoys),
        )

    def _markup(self, game: Node) -> tuple[str, ...]:
        regexes = tuple(self._markups(game))
        if len(joined(regexes)) > 1:
            self._p.problem(game.value["markup"], "E304.together")
            return ()
        return regexes

    def _markups(self, game: Node) -> Iterator[str]:
        node = self._p.entries(game).get("markup")
        for item in self._p.items(node) if node else ():
            regex = self._p.text(item, most=MAX_PATTERN)
            try:
                found = compile_pattern(regex).search("")
            except re2.error as exc:
                self._p.problem(item, "E304", why=refusal(exc))
            else:
                if found is None:
                    yield regex
                else:
                    self._p.problem(item, "E305")

    def _emoji(self, game: Node) -> dict[str, str]:
        node = self._p.entries(game).get("emoji")
        words = {}
        for key, child in self._p.entries(node).items() if node else ():
            sign = fold(key).text
            if len(sign) == 1 and not sign.isalnum():
                words[sign] = self._p.text(child, most=MAX_TERM)
            else:
                self._p.problem(child, "E215", key=f"{key:.20}")
        return words

    def _special(self, name: str) -> Iterator[Node]:
        for layer in self._layers:
            for file, node in layer.items():
                if kind(file) == name:
                    yield node

    def _merged(self, name: str, *, join: bool = False) -> Node:
        nodes = list(self._special(name))
        whole = Node({}, name, 0, 0)
        if not nodes:
            self._p.problem(whole, "E201", name=name)
        for node in nodes:
            whole = _merge(whole, node, join=join)
        return whole

    def _pairs(self, node: Node | None) -> Iterator[tuple[str, Node]]:
        yield from self._p.entries(node).items() if node else ()

    def _said_of(self, file: str) -> bool:
        return any(one.file == file for one in self._p.found)

    def _grammar(self, node: Node) -> HandleGrammar | None:
        try:
            grammar = msgspec.convert(node.data(), HandleGrammar, strict=False)
            HandleFinder(grammar)  # what folds to nothing, or breaks a pattern, shows only there
        except msgspec.ValidationError as exc:
            self._p.problem(node, "E202", why=exc)
        except (ValueError, re.error, re2.error) as exc:
            self._p.problem(node, "E213", why=f"{exc!s:.100}")
        else:
            return grammar
        return None

    def _rules(self, conditions: Conditions) -> dict[str, Rule]:
        out: dict[str, Rule] = {}
        for layer in self._layers:
            here: dict[str, Node] = {}
            for file, node in layer.items():
                for item in self._p.items(node) if kind(file) == "rules" else ():
                    rule = self._rule(item, conditions)
                    if rule.id in here:
                        first = here[rule.id]
                        self._p.problem(item, "E206", id=rule.id, file=first.file, line=first.line)
                    here[rule.id], out[rule.id] = item, rule
                    self.rules.append((rule, item))
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
                    self._p.problem(node.keys[name], "E217", nearest(name, rules), id=f"{name:.64}")
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
            starts_ms=p.day(e.get("starts"), first=True),
            expires_ms=p.day(e.get("expires")),
            review_ms=p.day(e.get("review_by")),
            budget=p.integer(budget, 0, 1, MOST_SPENT) if budget else None,
            band=read_band(p, e["band"]) if "band" in e else None,
            canary=self._canary(e.get("canary")),
            file=node.file,
            line=node.line,
        )
        self._complete(rule, node)
        hits, passes = read_examples(p, node, e.get("tests"))
        return msgspec.structs.replace(rule, revision=revision(rule), hits=hits, passes=passes)

    def _complete(self, rule: Rule, node: Node) -> None:
        if isinstance(node.value, dict) and node.value.keys().isdisjoint(("when", "count")):
            self._p.problem(node, "E207")
        if rule.starts_ms is not None and rule.expires_ms is not None and rule.starts_ms >= rule.expires_ms:
            self._p.problem(node.value["starts"], "E216")
        if rule.status == "canary" and rule.canary is None:
            self._p.problem(node, "E208")

    def _id(self, node: Node | None, rule: Node) -> str:
        text = self._p.text(node, most=64)
        if not text or not all(c.isascii() and (c.isalnum() or c in ".-_") for c in text):
            self._p.problem(node or rule, "E209")
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


def kind(file: str) -> str:
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
