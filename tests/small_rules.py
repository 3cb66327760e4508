"""A small rule set and the events to try it with: the engine's tests do not depend on what moderators ship."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec

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


_SENDER: Final = ("level", "vip", "account_age_days", "name", "guild", "guild_id", "signature", "total_recharge")
