"""A small rule set and the events to try it with: the engine's tests do not depend on what moderators ship."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec
from hypothesis import strategies as st

from moderation.events import ChatEvent
from moderation.rulefile import load

if TYPE_CHECKING:
    from moderation.ruleset import RuleSet

TS: Final = 1_750_000_000_000
_SHIPPED: Final = Path(__file__).parent.parent / "rules"

LEXICONS: Final = """\
move:
  说明: 离开的动词
  terms: [来我们区, 换区, 跳槽]
cash:
  说明: 现实的钱
  terms:
    - 现金
    - 转会费
    - {term: 夏日券, until: 2025-06-15}
sell:
  说明: 卖东西
  terms: [出金, 代练, 收元宝]
report:
  说明: 举报
  terms: [举报, 骗子]
look:
  说明: 让人看名字
  terms: [看我名字]
"""

GUARDS: Final = """\
quoting: {lexicon: report}
"""

TESTS: Final = "  tests: {hit: [占位], pass: [占位]}\n"
RULES: Final = (
    """\
- id: poach.cash
  label: poaching
  说明: 用钱拉人
  owner: gm
  status: live
  when: {all: [lexicon: move, lexicon: cash], within: 12}
  unless: [guard: quoting, context: same_guild]
  score: 60
  boosts: [{context: not_friend, add: 20}, {signal: disguised, add: 15}]
  because: 用{cash}引诱玩家{move}
  expires: 2030-01-01
@- id: sell.contact
  label: rmt
  说明: 卖金加联系方式
  owner: gm
  status: live
  when: {all: [lexicon: sell, handle: any]}
  score: 75
  because: "{sell} {handle}"
@- id: few.at.most
  label: rmt
  说明: 一小时至多三次
  owner: gm
  status: live
  when: {pattern: 'z{3}q'}
  score: 80
  because: 额度
  budget: 3
@- id: name.carrier
  label: contact
  说明: 名字里有联系方式
  owner: gm
  status: live
  when: {all: [lexicon: look, {handle: any, in: [name, guild, signature]}]}
  score: 80
  because: 名字里有{handle}
@- id: contact.drop
  label: contact
  说明: 公开留联系方式
  owner: gm
  status: live
  when: {handle: any}
  context: [public]
  score: 50
  because: 留下{handle}
@- id: sell.spray
  label: rmt
  说明: 逐个私聊卖金
  owner: gm
  status: live
  when: {lexicon: sell}
  context: [private]
  count: {counter: sell.spray, by: sender, distinct: recipient, within: 600, at_least: 3}
  score: 80
  because: 私聊群发{sell}
@- id: same.text
  label: spam_ad
  说明: 多个号说同一句
  owner: gm
  status: live
  when: {lexicon: sell}
  count: {counter: same.text, by: text, distinct: sender, within: 600, at_least: 3}
  score: 80
  because: 多个账号同一句话
@- id: same.handle
  label: contact
  说明: 多个号留同一个联系方式
  owner: gm
  status: live
  when: {handle: any}
  count: {counter: same.handle, by: handle, distinct: sender, within: 600, at_least: 3}
  score: 90
  because: 多个账号留下同一个{handle}
@- id: flood.same
  label: flood
  说明: 刷屏
  owner: gm
  status: live
  count: {counter: flood.same, by: sender_text, within: 60, at_least: 5}
  score: 80
  because: 一分钟内重复五次
@- id: horn.often
  label: flood
  说明: 喇叭太勤
  owner: gm
  status: live
  context: [horn]
  count: {counter: horn.often, by: sender, within: 60, at_least: 3}
  score: 80
  because: 喇叭太勤
@- id: long.run
  label: flood
  说明: 长串
  owner: gm
  status: live
  when: {signal: long_run}
  score: 80
  because: 长串同一个字
@- id: shadow.sell
  label: rmt
  说明: 试运行
  owner: gm
  status: shadow
  when: {lexicon: sell}
  score: 100
  because: "{sell}"
@- id: draft.sell
  label: rmt
  说明: 草稿
  owner: gm
  status: draft
  when: {lexicon: sell}
  score: 100
  because: "{sell}"
@- id: canary.s9
  label: abuse
  说明: 先在九服试
  owner: gm
  status: canary
  canary: {servers: [s9]}
  when: {pattern: 'x{3}y'}
  score: 80
  because: 试运行
""".replace("@", TESTS)
    + TESTS
)

ALLOW: Final = """\
official_contacts: {qq: ["800173905"]}
phrases: [换区补偿现金券]
"""


def layer(**files: str) -> dict[str, bytes]:
    """Return the small rule set as a layer; `files` replace or add files, their names with _ for . and __ for /."""
    texts = {name: (_SHIPPED / name).read_text("utf-8") for name in ("policy.yaml", "handles.yaml")}
    texts |= {"lexicons/all.yaml": LEXICONS, "guards.yaml": GUARDS, "rules.yaml": RULES, "allowlist.yaml": ALLOW}
    texts |= {"game.yaml": "own_names: [清流传]\nrival_names: [浊浪传]\n"}
    texts |= {name.replace("__", "/").replace("_yaml", ".yaml"): text for name, text in files.items()}
    return {name: text.encode() for name, text in texts.items()}


@cache
def rules() -> RuleSet:
    """Return the small rule set, compiled once."""
    return load([layer()])


def event(text: str, number: int = 0, *, at_s: float = 0, account: str = "a1", **fields: Any) -> ChatEvent:
    """Return a chat event; fields of the sender are given as they are, those of the recipient as `to`."""
    sender = {n: fields.pop(n) for n in tuple(fields) if n in _SENDER}
    to = fields.pop("to", None)
    raw = {
        "event_id": f"e{number}",
        "ts": TS + int(at_s * 1000),
        "server_id": "s1",
        "channel": "private" if to else "world",
        "text": text,
        "sender": {"account_id": account, **sender},
        **fields,
    }
    return msgspec.convert(raw | ({"recipient": to} if to else {}), ChatEvent)


_SENDER: Final = (
    "level", "vip", "account_age_days", "name", "guild", "guild_id", "signature", "total_recharge", "device_id",
)  # fmt: skip


#: Terms that are looked for in disguise, and what a term of theirs is worth; `app` holds contacts, `craft` trades.
HIDDEN: Final = """\
app:
  说明: 换地方聊
  disguised: true
  terms: [微信, 加微信, 加我微信]
craft:
  说明: 私下的生意
  disguised: true
  terms: [私服, 代打, 卖金币, 诚信收号]
"""
GAME: Final = """\
own_names: []
rival_names: []
markup: ['</?color(?:=[^<>]{0,20})?>', '#[rn]([^a-zA-Z]|$)']
emoji: {"💰": 金币}
"""
HIDDEN_RULES: Final = (
    """\
- id: hidden.app
  label: contact
  说明: 换地方聊
  owner: gm
  status: live
  when: {lexicon: app}
  score: 60
  because: 提到{app}
@- id: hidden.craft
  label: rmt
  说明: 私下的生意
  owner: gm
  status: live
  when: {lexicon: craft}
  score: 60
  because: 提到{craft}
@- id: hidden.sign
  label: abuse
  说明: 伪装
  owner: gm
  status: live
  when: {all: [{signal: disguised}, {none: [{lexicon: report}]}]}
  score: 10
  because: 伪装
@- id: price
  label: rmt
  说明: 标价
  owner: gm
  status: live
  when: {pattern: '[0-9]+ ?(元|块钱)', in: [text, window, name]}
  score: 30
  because: 标价
""".replace("@", TESTS)
    + TESTS
)


def disguised_layer() -> dict[str, bytes]:
    """Return the small rule set with classes that are looked for in disguise."""
    return layer(rules_yaml=RULES + HIDDEN_RULES, lexicons__hidden_yaml=HIDDEN, game_yaml=GAME)


@cache
def disguised_rules() -> RuleSet:
    """Return `disguised_layer`, compiled once."""
    return load([disguised_layer()])


#: What is said in tests of everything at once: words, handles, pieces, disguises, and what breaks naive code.
SAID: Final = (
    "", " ", "\n", "你好", "好的", "来我们区，转会费五百", "来 我 们 区 现 金", "出金加QQ 7381920465",
    "扣扣7381920465聊", "7381920465", "7381920465 在吗", "出金", "出 金", "代 练", "代练", "加扣", "738", "1920465",
    "收元宝了啊", "看我名字", "举报他 QQ 7381920465", "哈" * 40, "换区补偿现金券", "替代练习场", "zzzq", "xxxy",
    "x y", "a.b", "12元", "1 2 元", "嘉徽信", "师父", "似乎", "信微加", "打代", "jia wei xin", "亻弋打", "代a打b",
    "卖金币\n来我这", "加微信\n我带你", "加油吧兄弟,我们一起冲。微风吹过\n信心满满",
    "诚心打本,信我能过。收人速来\n号角响了", "7\n3\n8", "1\n9\n2", "出金" * 300, "啊" * 450 + "出金加QQ 7381920465",
    "来我们区" + "啊" * 600 + "现金", "\ud800出金", "加QQ 7381920465\udfff", "\ufdd0出金", "出\ufdd0金", "出\uff28金",
    "\uff28\uff28出 金\uff28", "\u200b出\u200b金\u200b", "\n\n\n\n\n\n", "vx: abc12345", "<color=red>出</color>金",
    "发#r", "出#r金", "卖💰吧", "倒着读 币金卖", "\u202e金出", "<color=", "red>出金",
)  # fmt: skip


@st.composite
def chats(draw: st.DrawFn, most: int = 16, gaps_ms: tuple[int, ...] = (1, 800, 5000, 200_000)) -> list[ChatEvent]:
    """Draw what a few accounts say within minutes: floods, pieces, copies, disguises and noise, one after the other."""
    text = st.sampled_from(SAID) | st.lists(st.sampled_from(SAID), max_size=3).map("".join) | st.text(max_size=20)
    names = (None, "糖醋排骨", "加Q7381920465", "738192", "0465", "\ud800", "微 信")
    chat: list[ChatEvent] = []
    at_ms = 0
    for number in range(draw(st.integers(1, most))):
        at_ms += draw(st.sampled_from(gaps_ms))
        said = chat[-1].text if chat and draw(st.integers(0, 3)) == 0 else draw(text)[:2048]
        fields: dict[str, Any] = {
            "account": draw(st.sampled_from(("a1", "a2", "a3"))),
            "level": draw(st.sampled_from((None, 3, 60))),
            "name": draw(st.sampled_from(names)),
            "device_id": draw(st.sampled_from((None, "d1"))),
            **draw(
                st.sampled_from(({}, {"channel": "horn"}, {"to": {"account_id": "r1"}}, {"to": {"account_id": "r2"}}))
            ),
        }
        chat.append(event(said, number, at_s=at_ms / 1000, **fields))
    return chat
