"""JSON Schemas of the files moderators write: what an editor with yaml-language-server completes, checks and explains.

Draft-07, since that is what editors read; descriptions in Chinese, for those who write the files. Names, ranges and
fields come from the engine, so a schema never knows a field that the engine does not. What only the engine can tell
(names of classes, patterns, dates that exist) is left to `qingliu rules lint`.
"""

from __future__ import annotations

import json
from typing import Any, Final, get_args

import msgspec
from msgspec.structs import fields

from console import words
from moderation.actions import Field, HandleType, Label
from moderation.alike import DISGUISES
from moderation.context import FACTS, TIERS
from moderation.handles import HandleGrammar
from moderation.lexiconfile import MAX_TERM
from moderation.policy import CampaignPolicy
from moderation.policyfile import APPEALS, MOST_BAND_SENDERS
from moderation.reading import SIGNALS
from moderation.rule import CountBy, Distinct, Status
from moderation.rulecondition import MAX_PATTERN
from moderation.windows import DEPTH, HORIZON_MS, MOST_SPENT

Schema = dict[str, Any]
#: The engine reads every scalar as the text that stands there: `no`, 010 and 12:30 are words.
_SCALAR: Final = ["string", "number", "boolean"]
_DAY: Final = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}( [0-9]{1,2}:[0-9]{2})?$"
_SHARE: Final = r"^\s*[0-9]{1,3}(\.[0-9]{1,4})? *[%％]\s*$"
_LENGTH: Final = r"([0-9]{1,6}\s*(秒|分钟?|小时|天|[smhd])|永久|forever)"
_PART: Final = rf"(撤回|retract|转人工|review|(禁言|影子禁言|封号|mute|shadow|ban) +{_LENGTH}\s*(@.*)?)"
_STATUS: Final = {
    "draft": "草稿，不参与判定", "shadow": "影子：照常判、只记录，不处罚", "canary": "灰度：只在 canary 写的范围里算数",
    "live": "正式", "off": "停用",
}  # fmt: skip
_BY: Final = {
    "sender": "这个人", "sender_text": "这个人的同一句话", "text": "同一句话，不管谁说", "handle": "同一个联系方式",
}  # fmt: skip
_DISTINCT: Final = {"message": "条数", "sender": "几个人说", "recipient": "私聊了几个人", "text": "几句不同的话"}
_KINDS: Final = {"text": "文字", "voice_asr": "语音转文字", "preset": "系统预设语", "item_link": "道具链接"}
_CAMPAIGNS: Final = {
    "accounts": "一段时间内几个账号算一伙", "window_s": "这段时间有多长，秒",
    "accounts_on_device": "同一台设备上几个账号就算",
    "accounts_ever": "不论多慢，一共几个账号就算；不能比 members 大", "step": "成员按处罚阶梯第几级处理",
    "watched_s": "没够人数之前记多久，秒", "kept_s": "够了之后记多久，秒",
    "kept_bad_s": "有恶意号码的记多久，秒", "members": "最多记多少个账号",
    "evidence": "每个账号第一句之外再留多少条证据",
}  # fmt: skip

_APPEALS: Final = {
    "first_answer_h": "几小时内先答复一声", "final_answer_h": "几小时内给最终答复",
    "window_days": "只看最近几天的申诉", "at_least": "至少有几条答复过的申诉才算",
    "overturned_percent": "通过的超过百分之几，规则退回人工",
}  # fmt: skip


def documents() -> dict[str, str]:
    """Return file name -> text of every schema, the same on every call."""
    made = {
        "rules": _head("规则文件", "一条一条的规则：说了什么、是谁、在哪里说，就给几分。", _rules()),
        "guards": _head("护栏", "给一组条件起名字，规则里写 guard: 名字 就能用。", _guards()),
        "lexicon": _head("词库", "一类意思的词放一起；规则里写 lexicon: 名字。", _lexicon()),
        "policy": _head("处罚政策", "几分算什么、罚多重。", _policy()),
        "game": _head("游戏", "自家和竞品的名字、聊天里的标记、表情的意思。", _game()),
        "examples": _head("更多例子", "给任何规则加的例子：必须命中的、必须放过的。", _examples()),
        "allowlist": _head("白名单", "官方联系方式和放行的短语。", _allowlist()),
        "handles": _head("联系方式语法", "怎样从一句话里认出 QQ 号、微信号、网址。", _handles()),
    }
    return {f"{name}.schema.json": json.dumps(one, ensure_ascii=False, indent=2) + "\n" for name, one in made.items()}


def _head(title: str, description: str, body: Schema) -> Schema:
    return {"$schema": "http://json-schema.org/draft-07/schema#", "title": title, "description": description} | body


# --- small words


def _text(description: str, *, most: int = 1000, **more: Any) -> Schema:
    return {"type": _SCALAR, "maxLength": most, "description": description, **more}


def _whole(description: str, low: int, high: int, **more: Any) -> Schema:
    return {"type": "integer", "minimum": low, "maximum": high, "description": description, **more}


def _flag(description: str) -> Schema:
    return {"type": "boolean", "description": description}


def _choice(description: str, said: dict[str, str]) -> Schema:
    listed = "；".join(f"{name} {meaning}" for name, meaning in said.items())
    return {"enum": list(said), "description": f"{description}：{listed}", "enumDescriptions": list(said.values())}


def _list(items: Schema, description: str, **more: Any) -> Schema:
    return {"type": ["array", "null"], "items": items, "description": description, **more}


def _one_or_more(items: Schema, description: str) -> Schema:
    return {"description": description, "oneOf": [items, {"type": "array", "items": items, "minItems": 1}]}


def _mapping(properties: Schema, description: str, *, required: tuple[str, ...] = (), **more: Any) -> Schema:
    made = {"type": "object", "description": description, "properties": properties, "additionalProperties": False}
    return made | ({"required": list(required)} if required else {}) | more


def _day(description: str) -> Schema:
    return {"type": "string", "pattern": _DAY, "description": f"{description}。写成 2027-06-30，或 2027-06-30 20:00"}


def _named(values: Schema, description: str) -> Schema:
    return {"type": ["object", "null"], "additionalProperties": values, "description": description}


# --- conditions


def _condition() -> Schema:
    """Return what one condition may be; `all`, `any` and `none` hold more of them."""
    several = {"type": "array", "minItems": 1, "items": {"$ref": "#/definitions/condition"}}
    types = {name: name for name in get_args(HandleType)} | {"any": "任意一种"}
    properties = {
        "all": several | {"description": "里面的全部要满足"},
        "any": several | {"description": "里面满足一个就行"},
        "none": several | {"description": "里面一个都不能有"},
        "lexicon": _one_or_more(_text("词库的名字"), "出现了这些词库里的词"),
        "handle": _one_or_more({"enum": list(types)}, "出现了联系方式；any 是任意一种"),
        "signal": _choice("有伪装或刷屏的痕迹", {name: words.SIGNALS[name] for name in SIGNALS}),
        "context": _choice("谁、在哪说、对谁说", {name: words.FACTS[name] for name in FACTS}),
        "guard": _text("guards.yaml 里起过名字的条件"),
        "pattern": _text("正则（RE2），写在单引号里；在还原后的文字（小写、半角、简体）上找", most=MAX_PATTERN),
        "within": _whole("all 里的要挨在几个字以内", 1, 2048),
        "in": _one_or_more(_choice("看哪里", {name: words.FIELDS[name] for name in get_args(Field)}), "看哪里"),
    }
    kinds = [name for name in properties if name not in ("within", "in")]
    snippets = [
        {"label": "词库", "description": "出现了词库里的词", "body": {"lexicon": "$1"}},
        {"label": "联系方式", "description": "留了联系方式", "body": {"handle": "any"}},
        {
            "label": "几样都要",
            "description": "全部满足，并且挨得近",
            "body": {"all": [{"lexicon": "$1"}], "within": 40},
        },
    ]
    return _mapping(
        properties,
        "一个条件，只写一种",
        oneOf=[{"required": [kind]} for kind in kinds],
        dependencies={
            "within": ["all"],
            "in": {"anyOf": [{"required": [kind]} for kind in ("lexicon", "handle", "pattern")]},
        },
        defaultSnippets=snippets,
    )


def _ref(description: str) -> Schema:
    return {"allOf": [{"$ref": "#/definitions/condition"}], "description": description}


# --- rules


def _rules() -> Schema:
    return {
        "type": ["array", "null"],
        "items": _rule(),
        "definitions": {"condition": _condition(), "boost": _boost(), "message": _message(), "scene": _scene()},
    }


def _rule() -> Schema:
    facts = "|".join(FACTS)
    properties = {
        "id": _text("编号：小写字母、数字、点、横线；用过的永远不要改作他用", most=64, pattern="^[A-Za-z0-9._-]+$"),
        "label": _choice("类别", {name: words.LABELS[name] for name in get_args(Label)}),
        "说明": _text("给同事看：这条管什么"),
        "owner": _text("谁负责"),
        "status": _choice("状态", {name: _STATUS[name] for name in get_args(Status)}),
        "when": _ref("满足什么"),
        "unless": _list({"$ref": "#/definitions/condition"}, "有一个成立就放行"),
        "context": _list(
            {"type": "string", "pattern": f"^(not )?({facts})$"}, "几个情境要同时成立；前面加 not 是不成立"
        ),
        "count": _count(),
        "score": _whole("基础分；40 分起交人工，70 分起自动处罚（policy.yaml 里改）", 0, 100),
        "boosts": _list({"$ref": "#/definitions/boost"}, "成立就加分或减分"),
        "because": _text("给人工看的理由；{词库名} 会换成实际命中的词，{handle} 换成联系方式"),
        "starts": _day("到这时才开始起作用"),
        "expires": _day("到期（含当天）自动失效"),
        "review_by": _day("到这天要有人再看看它准不准；过了 lint 会提醒"),
        "budget": _whole("一小时最多自动罚多少条，超过的转人工", 1, MOST_SPENT),
        "band": _band("命中率上限：超过就自动停下这条规则，只转人工；不写就用 policy.yaml 里的"),
        "canary": _mapping(
            {
                "servers": _one_or_more(_text("区服编号"), "在这些区服上算数"),
                "percent": _whole("百分之几的账号", 0, 100),
            },
            "灰度范围",
        ),
        "tests": _mapping(
            {
                "hit": _list({"$ref": "#/definitions/scene"}, "必须命中的例子", minItems=1),
                "pass": _list({"$ref": "#/definitions/scene"}, "必须不命中的例子", minItems=1),
            },
            "例子",
            required=("hit", "pass"),
        ),
    }
    needed = ("id", "label", "说明", "owner", "status", "score", "because", "tests")
    either = [{"required": ["when"]}, {"required": ["count"]}]
    return _mapping(properties, "一条规则", required=needed, anyOf=either, defaultSnippets=[_snippet()])


def _snippet() -> Schema:
    body = {
        "id": "${1:site.new-rule}", "label": "${2:topup}", "说明": "${3:这条管什么}", "owner": "${4:gm-duty}",
        "status": "shadow", "when": {"all": [{"lexicon": "${5:topup_offer}"}, {"handle": "any"}], "within": 40},
        "unless": [{"guard": "reporting"}, {"guard": "asking"}], "score": 60, "because": "${6:理由}",
        "tests": {"hit": ["${7:要命中的话}"], "pass": ["${8:不能命中的话}"]},
    }  # fmt: skip
    return {"label": "新规则", "description": "一条完整的规则，从影子开始", "body": body}


def _count() -> Schema:
    properties = {
        "counter": _text("计数器的名字；同名的规则共用一个计数", most=64),
        "by": _choice("数谁的", {name: _BY[name] for name in get_args(CountBy)}),
        "distinct": _choice("数什么", {name: _DISTINCT[name] for name in get_args(Distinct)}),
        "within": _whole("多少秒以内", 1, HORIZON_MS // 1000),
        "at_least": _whole("至少几个", 2, DEPTH),
    }
    return _mapping(properties, "不只看一条，还要数次数", required=("counter", "by", "within", "at_least"))


def _band(description: str) -> Schema:
    share = {"type": "string", "pattern": _SHARE, "description": "最多命中百分之几的话，如 0.2%；同一个人只算一次"}
    senders = _whole("至少几个不同的人命中，才开始看命中率", 2, MOST_BAND_SENDERS)
    return _mapping({"at_most": share, "senders": senders}, description, required=("at_most",))


def _boost() -> Schema:
    """Return a condition that has points beside it."""
    made = _condition()
    made["properties"] = made["properties"] | {"add": _whole("加几分，负数是减", -100, 100)}
    return made | {"description": "条件成立就加减分", "defaultSnippets": [_new_account()]}


def _new_account() -> Schema:
    return {"label": "新号加分", "description": "新号 +20", "body": {"context": "new", "add": 20}}


def _message() -> Schema:
    to = {
        "id": _text("收信人账号"), "level": _whole("等级", 0, 100_000), "vip": _whole("VIP 等级", 0, 1000),
        "guild_id": _text("公会编号"), "friend": _flag("是不是好友"),
    }  # fmt: skip
    properties = {
        "text": _text("说的话；{n} 会变成 1、2、3……", most=2048),
        "channel": _choice("频道", {name: said for name, said in words.CHANNELS.items() if name != "all"}),
        "text_type": _choice("是什么", _KINDS),
        "server": _text("区服"), "level": _whole("发言人等级", 0, 100_000), "vip": _whole("发言人 VIP", 0, 1000),
        "age_days": {"type": "number", "description": "建号几天"},
        "recharge": {"type": "number", "description": "充过多少"},
        "name": _text("昵称"), "guild": _text("公会名"), "guild_id": _text("公会编号"), "signature": _text("签名"),
        "from": _text("发言人账号"), "to": _mapping(to, "私聊的对方"),
    }  # fmt: skip
    return _mapping(properties, "一条消息")


def _scene() -> Schema:
    """Return a test: a text, or a message with more to it, or several of them."""
    inside = {"oneOf": [_text("一句话", most=2048), {"$ref": "#/definitions/message"}]}
    more = {
        "messages": {"type": "array", "items": inside, "minItems": 1, "description": "几条不同的话，按先后"},
        "repeat": _whole("同样的发几次", 1, 64),
        "every": _whole("隔几秒", 0, 3600),
    }
    scene = _mapping(_message()["properties"] | more, "一条或几条消息")
    return {"description": "一个例子：一句话，或几条消息", "oneOf": [_text("一句话", most=2048), scene]}


def _examples() -> Schema:
    scenes = {"hit": "必须命中的例子", "pass": "必须不命中的例子"}
    one = _mapping(
        {key: _list({"$ref": "#/definitions/scene"}, said) for key, said in scenes.items()}, "一条规则的例子"
    )
    made = _named(one, "规则的编号和它的例子")
    return made | {"definitions": {"message": _message(), "scene": _scene()}}


def _guards() -> Schema:
    return _named({"$ref": "#/definitions/condition"}, "护栏的名字和它的条件") | {
        "definitions": {"condition": _condition()}
    }


# --- the others


def _lexicon() -> Schema:
    text = "词条；只写正常写法，全角、繁体、夹符号不用管。甲&乙~丙：甲、乙都在，丙不在"
    word = _text(text, most=MAX_TERM) | {"type": [*_SCALAR, "null"]}  # null and ~ are words, too
    options = {
        "term": word,
        "until": _day("到期（含当天）自动失效"),
        "disguised": _flag("谐音、拆字、倒写、拼音这些换了字的写法也认"),
    }
    snippet = {"label": "会过时的词", "description": "写上到期日", "body": {"term": "$1", "until": "${2:2027-06-30}"}}
    one = {"oneOf": [word, _mapping(options, "带选项的词条", required=("term",))]}
    properties = {
        "说明": _text("这个词库装的是什么"),
        "disguised": _flag("这个词库的词，换着花样写也认；只给「想干什么、怎么联系」的词打开"),
        "decoy": _flag("没有规则用它：里面的长词只用来挡住短词"),
        "terms": _list(one | {"defaultSnippets": [snippet]}, "每行一个词"),
    }
    body = {"${1:site_words}": {"说明": "${2:装的是什么}", "terms": ["${3:词}"]}}
    made = _named(_mapping(properties, "一个词库", required=("说明", "terms")), "词库的名字和内容")
    return made | {"defaultSnippets": [{"label": "新词库", "description": "名字、说明、词", "body": body}]}


def _policy() -> Schema:
    tiers = {
        "vip_at_least": "VIP 到这一级：只交人工，绝不自动处罚", "new_age_days": "建号不超过几天算新号",
        "new_level": "或等级不超过几级", "established_days": "建号满几天，规则里可当 old_account 用",
    }  # fmt: skip
    label = {
        "review": _whole("几分起交人工", 1, 100),
        "act": _whole("几分起自动处罚；101 是从不自动", 1, 101),
        "act_settled": _whole("老玩家没留联系方式时，几分起自动处罚；不写就同 act，不能比它低", 1, 101),
        "ladder": _text("走哪条处罚阶梯"),
        "告知": _text("给玩家看的话，不许透露规则和词", most=100),
        "yields": _flag("同一条消息还有别的类别够分时，按别的类别算"),
    }
    step = {"type": "string", "pattern": rf"^\s*{_PART}(\s*[+＋]\s*{_PART})*\s*$"}
    step["description"] = "撤回、禁言 10分钟、禁言 1小时 @世界、影子禁言 10分钟、封号 7天、封号 永久、转人工，用 + 连接"
    rungs: Schema = {
        name: {"type": "array", "items": step, "minItems": 1, "description": words.TIERS[name]} for name in TIERS
    }
    ladder = _mapping(rungs, "各档玩家第几次违规怎么罚")
    campaigns = {field.name: _whole(_CAMPAIGNS[field.name], 1, 10**9) for field in fields(CampaignPolicy)}
    views = {name: _whole(f"{words.VIEWS[name]}：扣几分", 0, 100) for name in DISGUISES}
    properties = {
        "tiers": _mapping({name: _whole(said, 0, 100_000) for name, said in tiers.items()}, "玩家分层"),
        "labels": _mapping(
            {name: _mapping(label, words.LABELS[name]) for name in get_args(Label)}, "每个类别的分数线和阶梯"
        ),
        "ladders": _named(ladder, "处罚阶梯；名字用英文") | {"propertyNames": {"pattern": "^[A-Za-z0-9-]+$"}},
        "void_after_s": _whole("消息过去多少秒还没执行的自动处罚作废", 10, 86_400),
        "case_due_h": _whole("人工案件多少小时内要处理", 1, 720),
        "breaker_per_minute": _whole("总闸：一个进程一分钟最多自动处罚多少条；0 为不设", 0, MOST_SPENT),
        "band": _band("规则没写 band 时的命中率上限"),
        "disguises": _mapping(views, "靠这种读法命中的扣几分"),
        "campaigns": _mapping(campaigns, "团伙"),
        "appeals": _mapping(
            {name: _whole(_APPEALS[name], 1, most) for name, most in APPEALS.items()},
            "申诉：多久答复，推翻多少就退回人工",
        ),
    }
    return _mapping(properties, "处罚政策")


def _game() -> Schema:
    name = _text("名字", most=MAX_TERM)
    properties = {
        "own_names": _list(name, "自家游戏、自家渠道的叫法（词库 own_game）"),
        "rival_names": _list(name, "竞品和别的平台的叫法（词库 rival_game）"),
        "markup": _list(_text("正则（RE2）", most=MAX_PATTERN), "聊天里的标记，判之前去掉；括号里的文字留下"),
        "emoji": _named(_text("它代表的词", most=MAX_TERM), "表情符号代表的词"),
    }
    return _mapping(properties, "游戏")


def _allowlist() -> Schema:
    one = {"oneOf": [_text("号码加引号"), _list(_text("号码加引号"), "几个号码；没有就写 []")]}
    official = _mapping(
        {name: one | {"description": f"官方的 {name}"} for name in get_args(HandleType)},
        "官方联系方式，玩家转发不会被罚",
    )
    return _mapping({"official_contacts": official, "phrases": _list(_text("短语"), "放行的短语")}, "白名单")


def _handles() -> Schema:
    """Return the shape of the grammar from its type; what its fields mean stands in the file."""
    made: Schema = msgspec.json.schema(HandleGrammar)
    made |= made["$defs"].pop(made.pop("$ref").rpartition("/")[2])
    made.pop("title", None)
    made["definitions"] = made.pop("$defs")
    text = json.dumps(made).replace("#/$defs/", "#/definitions/")
    whole: Schema = json.loads(text.replace('"type": "string"', f'"type": {json.dumps(_SCALAR)}'))
    whole.pop("required", None)
    return whole
