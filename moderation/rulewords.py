"""What is said of rule files: every problem by its code, in Chinese and in English.

A code never changes its meaning. E… keeps a rule set from being used, W… (see moderation.lint) is advice. What stands
after a dot tells wordings of one code apart and is not shown.
"""

from __future__ import annotations

from typing import Final

from moderation.errors import RuleProblem

#: What a name may be the name of.
KINDS: Final = {
    "词库": "lexicon", "护栏": "guard", "情境": "context", "信号": "signal", "联系方式类型": "type of handle",
    "字段": "field",
}  # fmt: skip

PROBLEMS: Final[dict[str, tuple[str, str]]] = {
    # the file
    "E001": ("内容超过 {most} 项；请拆成几个文件", "more than {most} values; split the file"),
    "E001.bytes": ("文件 {size} 字节，最多 {most} 字节；请拆开", "{size} bytes, at most {most}; split the file"),
    "E002": ("不是 UTF-8 文本（第 {at} 字节），请用 UTF-8 编码另存", "no UTF-8 (byte {at}): save it as UTF-8"),
    "E003": (
        "YAML 格式不对：{why}（常见原因：缩进、漏了空格、用了 Tab）",
        "this is no YAML: {why} (often: indentation, a missing space, a tab)",
    ),
    "E004": ("一个文件只能有一份内容，请去掉「---」分隔", "one document a file: remove the ---"),
    "E005": (
        "不允许使用锚点与引用（& 和 *）；以 * 或 & 开头的词请加引号",
        "anchors and aliases (& and *) are refused; quote a term that begins with one",
    ),
    "E006": (
        "不允许使用标签（!）；以 ! 开头的词请加引号",
        "tags (!) are refused; quote a term that begins with one",
    ),
    "E007": ("嵌套超过 {most} 层", "nested deeper than {most}"),
    "E008": ("字段 {key} 写了两次（上一次在第 {line} 行）", "{key} is written twice (first on line {line})"),
    "E009": ("文字里有半个字符（\\uD800–\\uDFFF），请改成完整的字", "half a character (\\uD800-\\uDFFF)"),
    # shapes
    "E101": ("这里应是「键: 值」的形式", "expected `key: value`"),
    "E101.key": ("键应是一段文字", "a key must be text"),
    "E102": ("未知字段 {key}", "unknown field {key}"),
    "E103": ("缺少字段 {key}", "the field {key} is missing"),
    "E104": ("这里应是列表（每项前加「- 」）", "expected a list (each item after `- `)"),
    "E105": ("这里应是一段文字", "expected text"),
    "E106": ("太长：{size} 字，最多 {most} 字", "too long: {size} characters, at most {most}"),
    "E107": ("这里应是整数，却是「{value}」", "expected a whole number, not “{value}”"),
    "E108": ("{number} 超出范围 {low}–{high}", "{number} is not within {low}-{high}"),
    "E109": ("「{value}」不在可选值之中", "“{value}” is none of the possible values"),
    "E109.options": ("「{value}」不在可选值之中：{options}", "“{value}” is none of {options}"),
    "E110": ("「{value}」不是比例，写成 0.2%、5%，大于 0，不超过 100%", "“{value}” is no share: write 0.2% or 5%"),
    # what it says
    "E201": ("缺少文件 {name}", "the file {name} is missing"),
    "E202": ("handles.yaml 内容不对：{why}", "handles.yaml makes no sense: {why}"),
    "E204": ("词条「{word}」归一后什么也不剩，永远不会命中", "folded, nothing is left of “{word}”: no match ever"),
    "E205": (
        "组合词「{word}」写得不完整：& 的每一段、~ 的后面都要有词，至少一段是要出现的",
        "“{word}” is no whole combination: a word on each side of &, one after each ~, and one that must be there",
    ),
    "E205.plain": ("这里的词不能写 & 和 ~ 组合", "no combinations by & and ~ here"),
    "E206": ("规则编号 {id} 已在 {file} 第 {line} 行用过", "the rule id {id} is taken: {file} line {line}"),
    "E207": ("规则没有条件：要有 when 或 count", "a rule needs a condition: when, or count"),
    "E208": (
        "status 是 canary，要写 canary: {{servers: […]}} 或 {{percent: 5}}",
        "status canary needs canary: {{servers: […]}} or {{percent: 5}}",
    ),
    "E209": (
        "规则编号只用小写字母、数字和 . - _，例如 poach.cash-move",
        "a rule id is of small letters, digits and . - _, such as poach.cash-move",
    ),
    "E210": ("日期写成 2027-06-30，或 2027-06-30 20:00", "write a day as 2027-06-30, a time as 2027-06-30 20:00"),
    "E211": ("没有叫「{name}」的{what}", "there is no {kind} “{name}”"),
    "E212": ("每条规则至少要有一个 hit 和一个 pass 测试", "a rule needs at least one hit and one pass test"),
    "E213": (
        "handles.yaml 里有不能用的词或字符（空的，或全是符号）：{why}",
        "handles.yaml has a word that cannot be used (empty, or signs only): {why}",
    ),
    "E214": ("测试消息不对：{why}", "this test is no message: {why}"),
    "E215": ("「{key}」不是一个表情符号", "“{key}” is no emoji"),
    "E216": ("开始（starts）不早于到期（expires），规则永远不会生效", "starts is not before expires: never in force"),
    "E217": ("没有规则 {id}", "there is no rule {id}"),
    "E301": ("一个条件只写一种：{kinds}", "a condition is of one kind only: {kinds}"),
    "E302": ("{extra} 只能和 {allowed} 一起写", "{extra} belongs to {allowed} only"),
    "E303": ("这里至少要有一个条件", "at least one condition is needed here"),
    "E304": ("正则写法不对（RE2）：{why}", "RE2 refuses this pattern: {why}"),
    "E304.bytes": ("正则里不能用 \\C：它会把一个汉字切成几段", "no \\C: it cuts characters to pieces"),
    "E304.together": (
        "这些正则合起来太大，或互相妨碍；请写得简单些",
        "together these patterns are too large, or spoil each other",
    ),
    "E305": ("这个正则什么都能匹配", "this pattern matches everything"),
    "E306": (
        "条件太大：连同护栏 {parts} 项、{deep} 层，最多 {most} 项、{deepest} 层",
        "too large: {parts} parts and {deep} levels with its guards, at most {most} and {deepest}",
    ),
    # policy
    "E401": ("act（{act}）不能低于 review（{review}）", "act ({act}) is below review ({review})"),
    "E402": ("处罚阶梯至少要有一级", "a ladder has at least one step"),
    "E403": ("{why}", "no step of a ladder: {why}"),
    "E404": ("阶梯名「{name}」只用英文字母、数字和 -", "letters, digits and - only in a ladder's name: “{name}”"),
    "E405": (
        "accounts_ever（{ever}）不能大于 members（{members}）",
        "accounts_ever ({ever}) is more than members ({members})",
    ),
    "E406": (
        "final_answer_h（{final}）不能小于 first_answer_h（{first}）",
        "final_answer_h ({final}) is less than first_answer_h ({first})",
    ),
    # advice
    "W101": (
        "「{word}」在 {file} 第 {line} 行已经有了（同一个词库，归一后都是「{folded}」），留一个就够",
        "“{word}” is in this class already: {file} line {line} (both fold to “{folded}”)",
    ),
    "W102": ("「{word}」只有一个字，到处都会撞上", "“{word}” is a single character: it will be met everywhere"),
    "W102.signs": ("「{word}」里没有字，只有标点", "“{word}” holds no letter, only punctuation"),
    "W103": (
        "「{word}」太常见（语料里 {often} 次），几乎什么话里都有",
        "“{word}” is too common ({often} times in the corpus): it is in most talk",
    ),
    "W103.alone": (
        "「{word}」是常见词（语料里 {often} 次），而词库 {name} 里的词单独出现就会让规则命中",
        "“{word}” is common ({often} times in the corpus), and a term of {name} alone makes a rule hit",
    ),
    "W104": ("「{word}」已到期，不再起作用；可以删掉", "“{word}” has expired; delete it"),
    "W105": (
        "「{word}」和白名单里的短语一样，永远不会命中",
        "“{word}” is an allowed phrase, too: it never matches",
    ),
    "W201": ("规则 {id} 已到期，不再起作用；请续期或停用（负责人 {owner}）", "the rule {id} has expired ({owner})"),
    "W202": ("规则 {id} 过了复查日期，请看看还准不准（负责人 {owner}）", "the rule {id} is due for review ({owner})"),
    "W203": ("规则 {id} 的 {field} 是空的", "the rule {id} has an empty {field}"),
    "W205.canary": (
        "规则 {id} 的灰度范围是空的，对谁都不起作用",
        "the rule {id} is on trial for nobody",
    ),
    "W205.score": ("规则 {id} 没有分数，命中也没有用", "the rule {id} has no points: its hits mean nothing"),
    "W205.spared": (
        "规则 {id} 永远不会命中：它要找的，总被「{by}」放过",
        "the rule {id} never hits: whatever it looks for is spared by “{by}”",
    ),
    "W205.nowhere": (
        "规则 {id} 永远不会命中：它要求的频道不可能同时成立",
        "the rule {id} never hits: no message is in all the channels it asks for",
    ),
    "W205.empty": (
        "规则 {id} 永远不会命中：词库 {name} 里没有还有效的词",
        "the rule {id} never hits: the lexicon {name} has no terms in force",
    ),
    "W206": (
        "规则 {id} 的条件和 {other} 一样（{file} 第 {line} 行），同一件事会算两次分",
        "the rule {id} asks for the same as {other} ({file} line {line}): one thing gives points twice",
    ),
    "W207": (
        "规则 {narrow} 命中时 {wide} 一定也命中，分数也一样；留一条就够了",
        "whenever {narrow} hits, {wide} does, with the same points: one of them will do",
    ),
    "W208": (
        "计数器 {counter} 在规则 {other}（{file} 第 {line} 行）里数的是 {was}，这里却是 {now}；请换个计数器名",
        "the counter {counter} counts {was} in the rule {other} ({file} line {line}), but {now} here: rename it",
    ),
    "W208.layers": (
        "这里改了计数器 {counter} 的数法：原来（{file} 第 {line} 行）数 {was}，现在数 {now}；请换个计数器名",
        "this changes what the counter {counter} counts: {was} before ({file} line {line}), {now} now: rename it",
    ),
    "W209": (
        "规则 {id} 的 because 里的 {{{name}}} 不是它用到的词库，会填进别的词",
        "the rule {id} does not ask for the lexicon {{{name}}} of its because: another word will stand there",
    ),
    "W210": ("词库 {name} 没有任何规则用到", "no rule asks for the lexicon {name}"),
    "W211": ("护栏 {name} 没有任何规则用到", "no rule asks for the guard {name}"),
    "W212": (
        "规则 {id} 的 hit 和 pass 里有同一句话：「{text}」",
        "the rule {id} has one test both as hit and as pass: “{text}”",
    ),
    "W213": (
        "规则 {id} 命中率到 {percent}% 才停，等于没有上限",
        "the rule {id} may hit {percent}% of the chat before it is stopped: that is no bound",
    ),
}


def problem(file: str, line: int, column: int, key: str, near: str = "", /, **said: object) -> RuleProblem:
    """Word a problem; `near` is what may have been meant."""
    zh, en = (words.format(**said) for words in PROBLEMS[key])
    if near:
        zh, en = f"{zh}（你是不是想写 {near}？）", f"{en} (did you mean {near}?)"
    return RuleProblem(file, line, column, key.partition(".")[0], zh, en)
