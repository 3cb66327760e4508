"""The words people read: one language for the commands, Chinese for what moderators judge by.

Importing this costs nothing: the command line's help needs it before anything else is there.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping


def chinese(environ: Mapping[str, str]) -> bool:
    """Tell whether the locale is Chinese; the first variable that is set decides, as in POSIX.

    >>> chinese({"LC_ALL": "", "LANG": "zh_CN.UTF-8"})
    True
    """
    chosen = next((value for name in ("LC_ALL", "LC_MESSAGES", "LANG") if (value := environ.get(name))), "")
    return chosen.lower().startswith("zh")


_CHINESE: Final = chinese(os.environ)


def say(zh: str, en: str) -> str:
    """Return the one of both that the locale asks for."""
    return zh if _CHINESE else en


LABELS: Final = {
    "spam_ad": "广告", "boosting": "代练", "rmt": "线下交易", "topup": "代充", "contact": "联系方式",
    "poaching": "拉人", "scam": "诈骗", "gambling": "赌博", "porn_ad": "色情广告", "flood": "刷屏", "abuse": "辱骂",
}  # fmt: skip
VERDICTS: Final = {"allow": "放行", "review": "转人工", "act": "处罚"}
WHY_HUMAN: Final = {
    "low_confidence": "分数不到自动处罚线", "vip": "大R只交人工", "policy": "政策规定要人看",
    "budget": "规则本小时额度已用完", "degraded": "台账不可用",
    "overturned": "规则已退回人工：被申诉推翻太多，或命中率超出上限",
}  # fmt: skip
TIERS: Final = {"vip": "大R", "paying": "付费玩家", "new": "新号", "established": "普通玩家"}
FIELDS: Final = {"text": "正文", "name": "昵称", "guild": "公会名", "signature": "签名", "window": "连续几条"}
#: The ways to read a text; all but the first undo a disguise.
VIEWS: Final = {
    "plain": "归一", "squeezed": "去分隔", "sound": "谐音", "shape": "形近", "reversed": "倒写", "pinyin": "拼音",
    "parts": "拆字", "unfilled": "夹字", "columns": "竖排", "heads": "藏头", "tails": "藏尾", "emoji": "表情",
}  # fmt: skip
CHANNELS: Final = {
    "all": "全部频道", "world": "世界", "private": "私聊", "guild": "公会", "team": "队伍", "trade": "交易",
    "horn": "喇叭", "nearby": "附近", "cross_server": "跨服",
}  # fmt: skip
SIGNALS: Final = {
    "disguised": "有伪装", "zero_width": "零宽字符", "combining": "叠加符号", "bidi": "方向控制符",
    "enclosed": "带圈字", "mixed_digits": "混用几种数字", "mixed_script": "混用几种文字", "separators": "字间夹符号",
    "long_run": "长串重复", "newlines": "换行刷屏", "truncated": "太长已截断", "obfuscated_handle": "联系方式有伪装",
    "id_like": "有字母数字串", "acrostic": "藏头藏尾", "respelled": "多处谐音形近",
}  # fmt: skip
FACTS: Final = {
    **{name: f"{word}频道" for name, word in CHANNELS.items() if name != "all"},
    "public": "公开频道", "same_guild": "同公会", "not_friend": "不是好友", "stranger": "陌生人", "to_vip": "对大R说",
    "new": "新号", "low_level": "等级低", "old_account": "老号", "paying": "付过费", "vip": "大R", "in_guild": "有公会",
    "preset": "预设短语", "voice": "语音转写",
}  # fmt: skip
UNDONE: Final = {"message": "撤回消息", "mute": "解除禁言", "ban": "解除封号", "strike": "注销违规"}
