"""The script of `qingliu contract test`: per rule of docs/game-server.md what to send, and which acks are right."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec
from msgspec import Struct

from moderation import actions
from moderation.actions import Action, MuteCommand, RevertCommand, Source, Target
from moderation.errors import SettingsError
from moderation.events import Id
from moderation.order import sanction, undo

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence


#: Sanctions end after this by themselves, so a test account is free again soon; the only ban is lifted by its rule.
LASTS_S: Final = 600
#: How long ago is past for every clock that is synchronised at all.
PAST_MS: Final = 60_000
_REVERT: Final[dict[str, Any]] = {"action": "revert", "duration_s": None, "until": None}

#: Chinese, English.
Words = tuple[str, str]


class Step(NamedTuple):
    """One record to publish. `right`: the statuses that are right for its ack; none where nothing could be acked.

    `whole`: its ack must name the account. A consumer cannot, where it could not read more than the action's id.
    """

    action_id: str
    value: bytes | None
    right: tuple[str, ...] = ()
    whole: bool = True


class Rule(Struct, frozen=True):
    """A rule of the contract: what it says, what mends it, and its records in order.

    `poison`: a wrong consumer may end over it, so it is sent when all others have been answered.
    """

    name: str
    account: str
    title: Words
    mend: Words
    steps: tuple[Step, ...]
    poison: bool = False


class Author(NamedTuple):
    """Writes the actions of one rule. Times are in ms from now, negative = ago."""

    run: str
    name: str
    account: str
    now_ms: int

    def auto(self, tag: str, *, said: int = 0, at: tuple[str, int, int] = ("world", 0, 100), **change: Any) -> Action:
        """Return an automatic mute in world chat; `at`: topic, partition and offset of its cause."""
        end = self.now_ms + LASTS_S * 1000
        fields: dict[str, Any] = {
            "action_id": self.id(tag), "action": "mute", "target": Target(self.account), "scope": ("world",),
            "duration_s": LASTS_S, "until": end, "deliver_before": end, "created_at": self.now_ms,
            "reason_code": "spam_ad.mute", "reason_text": "清流对接测试", "mode": "auto", "ruleset": "conformance",
            "event_id": self.id(f"{tag}.event"), "label": "spam_ad", "score": 90.0,
            "source": self.source(*at), "evidence": self._evidence(self.now_ms + said),
        }  # fmt: skip
        return Action(**fields | change)

    def human(self, tag: str, *, at: int = 0, seconds: int = LASTS_S, **change: Any) -> Action:
        """Return a moderator's mute, as a worker writes it."""
        order = MuteCommand(tag, "qingliu-test", "对接测试", self.now_ms + at, Target(self.account), seconds)
        return msgspec.structs.replace(sanction(order, "conformance"), action_id=self.id(tag), **change)

    def undo(self, tag: str, undone: Action, *, at: int = 0) -> Action:
        """Return a moderator's revert, as a worker writes it."""
        ids = undone.action_id, undone.target.account_id
        order = RevertCommand(tag, "qingliu-test", "对接测试", self.now_ms + at, *ids)
        return msgspec.structs.replace(undo(order, undone, "conformance"), action_id=self.id(tag))

    def id(self, tag: str) -> str:
        """Return an id that says in the game server's log where it came from."""
        return f"{self.run}.{self.name}.{tag}"

    def source(self, topic: str, partition: int, offset: int) -> Source:
        """Return a place in no real topic: its fence must hold back no real action against a test account."""
        return Source(f"{self.run}.chat.{topic}", partition, offset)

    def _evidence(self, said_ms: int) -> actions.Evidence:
        who, when, where = actions.Who(self.account), actions.When(said_ms, self.now_ms), actions.Where("s1", "world")
        what, why = actions.What("对接测试", "对接测试"), actions.Why("spam_ad", 90.0)
        return actions.Evidence(who, when, where, what, why, actions.How())


def step(ordered: Action, *right: str, **change: Any) -> Step:
    """Return the record of an action, with fields of its JSON changed."""
    return Step(ordered.action_id, msgspec.json.encode(msgspec.to_builtins(ordered) | change), right)


def _applied(by: Author) -> Iterator[Step]:
    yield step(by.auto("mute"), "applied")


def _once(by: Author) -> Iterator[Step]:
    yield step(by.auto("mute"), "applied")
    yield step(by.auto("mute"), "already")


def _in_time(by: Author) -> Iterator[Step]:
    yield step(by.auto("late", said=-2 * PAST_MS, deliver_before=by.now_ms - PAST_MS), "rejected")
    yield step(by.human("over", at=-2 * PAST_MS, seconds=PAST_MS // 1000), "rejected")
    yield step(by.auto("good", at=("world", 0, 99)), "applied")  # older than what was void, which moved no fence


def _fence(by: Author) -> Iterator[Step]:
    yield step(by.auto("new", at=("world", 0, 101)), "applied")
    yield step(by.auto("old", at=("world", 0, 100)), "rejected")
    yield step(by.auto("same-event", at=("world", 0, 101)), "applied")
    yield step(by.auto("other-partition", at=("world", 1, 100)), "applied")
    yield step(by.auto("other-topic", at=("private", 0, 100)), "applied")


def _lift(by: Author) -> Iterator[Step]:
    mute = by.auto("mute")
    yield step(mute, "applied")
    yield step(by.undo("undo", mute), "applied")
    yield step(mute, "already", "rejected")  # it was applied before, and it is forgiven: two rules forbid it


def _forgiven(by: Author) -> Iterator[Step]:
    first = by.auto("first", said=-4)
    yield step(first, "applied")
    yield step(by.undo("undo", first, at=-2), "applied")
    yield step(by.auto("said-before", said=-2, at=("private", 0, 100)), "rejected")
    yield step(by.auto("said-after", said=-1, at=("private", 0, 101)), "applied")


def _human_first(by: Author) -> Iterator[Step]:
    human = by.human("human", source=by.source("world", 0, 1), deliver_before=by.now_ms - PAST_MS)
    yield step(by.auto("mute"), "applied")
    yield step(human, "applied")
    yield step(by.auto("lift", scope="mute", reverts=human.action_id, at=("world", 0, 101), **_REVERT), "rejected")


def _permanent(by: Author) -> Iterator[Step]:
    ban = by.auto("ban", action="ban", scope="account", duration_s=None, until=None)
    yield step(ban, "applied")
    yield step(by.undo("undo", ban), "applied")


def _unknown_fields(by: Author) -> Iterator[Step]:
    target = {"account_id": by.account, "of_tomorrow": 1}
    yield step(by.auto("mute"), "applied", of_tomorrow={"a": ["list", None]}, target=target)


def _rare(by: Author) -> Iterator[Step]:
    messages = Target(by.account, message_ids=(by.id("m1"), by.id("m2")))
    taken = by.auto("retract", scope="message", target=messages, **_REVERT)
    bare = {"mode": "manual", "deliver_before": None, "source": None, "evidence": None, **_REVERT}
    yield step(by.auto("channels", scope=("world", "private")), "applied")
    yield step(by.auto("shadow", scope="all", visibility="self_only"), "applied")
    yield step(taken, "applied")
    yield step(by.undo("restore", taken), "applied")
    yield step(by.auto("strike", scope="strike", **bare), "applied")


def _undone_first(by: Author) -> Iterator[Step]:
    human = by.human("human")  # what an automatic mute was for would be forgiven anyway
    yield step(by.undo("undo", human), "applied", "already")
    yield step(human, "already")


def _broken(by: Author) -> Iterator[Step]:
    yield from (Step("", value) for value in (b"{not json", b"\xff\xfe", b"", None, b'{"action_id":7}'))
    tomorrow = msgspec.to_builtins(by.auto("unknown-kind")) | {"action": "kick"}
    yield Step(by.id("unknown-kind"), msgspec.json.encode(tomorrow), ("rejected",), whole=False)
    yield step(by.auto("next"), "applied")


_SCENES: Final[dict[str, tuple[Callable[[Author], Iterator[Step]], Words, Words]]] = {
    "applied": (_applied, ("禁言执行并回执一次", "a mute is applied, and acked once"),
        ("执行后写一条 applied；两个消费组会各写一条", "write one applied; two consumer groups write two")),
    "once": (_once, ("同一个 action_id 只执行一次", "an action_id is applied once"),
        ("把执行过的 action_id 和处罚存在一起", "keep the action_ids that were applied beside the sanctions")),
    "in-time": (_in_time, ("过期的不执行", "what is late is not applied"),
        ("自动指令看 deliver_before，禁言封号看 until；检查 NTP", "heed deliver_before (auto) and until; check NTP")),
    "fence": (_fence, ("同一来源分区里更旧的自动指令不执行", "nothing older from the same source partition"),
        ("按账号、来源主题、来源分区记住执行过的 offset，更小才拒绝",
         "remember source.offset per account, source topic and partition; refuse only what is smaller")),
    "lift": (_lift, ("人工撤销解除 reverts 指的禁言", "a human's revert lifts the mute in reverts"),
        ("按 action_id 存处罚，解除那一条", "keep sanctions by action_id, end that one")),
    "forgiven": (_forgiven, ("人工撤销前说的话不再自动处罚", "what was said before a human's revert is forgiven"),
        ("按账号记住人工撤销的 created_at，与 evidence.when.event 比较",
         "remember a human revert's created_at per account, compare evidence.when.event")),
    "human-first": (_human_first, ("人工指令优先", "a human's order outranks automatic ones"),
        ("manual 不看来源位置和 deliver_before；自动撤销不能解除人工处罚",
         "manual passes fence and deliver_before; no automatic revert lifts what a human imposed")),
    "permanent": (_permanent, ("until 为 null 是永久封号", "a ban whose until is null is for good"),
        ("null 不是 0", "null is not 0")),
    "unknown-fields": (_unknown_fields, ("不认识的字段忽略", "unknown fields are ignored"),
        ("让 JSON 解码忽略未知字段", "tell the JSON decoder to ignore them")),
    "rare": (_rare, ("多频道、影子禁言、撤回与恢复消息", "several channels, shadow mute, messages, strike"),
        ("对照 docs/game-server.md 的动作表", "compare with the table in docs/game-server.md")),
    "undone-first": (_undone_first, ("先到的撤销有回执，之后也有效", "a revert that comes first is acked, and holds"),
        ("撤销时把 reverts 也记为执行过", "when reverting, keep the id in reverts as applied, too")),
    "broken": (_broken, ("坏记录不挡住后面的指令", "a broken record does not stop the consumer"),
        ("读不懂的跳过，不认识的种类回 rejected", "skip what cannot be read, answer rejected to an unknown kind")),
}  # fmt: skip


def script(run_id: str, prefix: str, real: Sequence[str] | None, now_ms: int) -> tuple[Rule, ...]:
    """Write the rules, each for an account of its own, since one would change what is right for another.

    Without `real` ones they are made up. Raises SettingsError for too few, or ids beyond the contract's limits.
    """
    cast = [f"{prefix}{name}" for name in _SCENES] if real is None else list(dict.fromkeys(real))
    if len(cast) < len(_SCENES):
        raise SettingsError(f"{len(cast)} test accounts, {len(_SCENES)} are needed: one for each rule")
    try:
        msgspec.convert(cast, list[Id])
    except msgspec.ValidationError as exc:
        raise SettingsError(f"this is no account id: {exc}") from None
    authors = (Author(run_id, name, account, now_ms) for name, account in zip(_SCENES, cast, strict=False))
    return tuple(_rule(by, *_SCENES[by.name]) for by in authors)


def _rule(by: Author, write: Callable[[Author], Iterator[Step]], title: Words, mend: Words) -> Rule:
    return Rule(by.name, by.account, title, mend, tuple(write(by)), write is _broken)
