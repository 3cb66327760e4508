from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st
from ruamel.yaml import YAML

from moderation.actions import Handle
from moderation.fold import JOINT, fold
from moderation.handles import HandleFinder, HandleGrammar, aliases

HERE = Path(__file__).parent
OFFICIAL = {"qq": ["800173905"], "tel": ["4006001234"], "url": ["news.example.com"]}


def _grammar(**changes: Any) -> HandleGrammar:
    words = YAML(typ="safe").load((HERE.parent / "rules" / "handles.yaml").read_text(encoding="utf-8"))
    return msgspec.convert(words | changes, HandleGrammar)


FINDER = HandleFinder(_grammar(), OFFICIAL)


def found(text: str, finder: HandleFinder = FINDER) -> list[str]:
    return [f"{h.type}:{h.value}" for h in finder.find(fold(text))]


# --- what is a handle ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # numbers behind their cue
        ("收闲置装备，Q 2846013957", ["qq:2846013957"]),
        ("qq：2846013957 秒结", ["qq:2846013957"]),
        ("扣扣2846013957", ["qq:2846013957"]),
        ("QQ 50127", ["qq:50127"]),
        ("扣 284-601-3957 私聊", ["qq:2846013957"]),
        ("🐧2846 0139 57", ["qq:2846013957"]),
        ("jq 2846013957", ["qq:2846013957"]),
        ("投稿到 2846013957@qq.com", ["qq:2846013957"]),
        # before is better than behind, behind is better than nothing
        ("2846013957 扣", ["qq:2846013957"]),
        ("284601395（企鹅）", ["qq:284601395"]),
        ("q 284601395 微信 193847502", ["qq:284601395", "wx:193847502"]),
        # groups
        ("交流群 618 350 927", ["qun:618350927"]),
        ("Q群：618350927", ["qun:618350927"]),
        ("进裙618350927", ["qun:618350927"]),
        ("扣扣裙号 六一八三五零九二七", ["qun:618350927"]),
        ("qq 君.羊 618350927", ["qun:618350927"]),
        ("1群：618350927 2群：729461038", ["qun:618350927", "qun:729461038"]),
        ("群 618350927 或 729461038", ["qun:618350927", "qun:729461038"]),
        # phones
        ("13928471056", ["tel:13928471056"]),
        ("139-2847-1056 老张", ["tel:13928471056"]),
        ("电话+86 139 2847 1056", ["tel:13928471056"]),
        ("打 008613928471056", ["tel:13928471056"]),
        ("致电 400-820-7719", ["tel:4008207719"]),
        ("一三九二八四七一零五六", ["tel:13928471056"]),
        ("呼幺三九两八四拐幺洞五六", ["tel:13928471056"]),
        ("手机13928471056微信同号", ["tel:13928471056", "wx:13928471056"]),
        # WeChat
        ("加V:lao_wang88", ["wx:lao_wang88"]),
        ("微信 Lao-Wang88", ["wx:lao-wang88"]),
        ("薇❤ laowang88 详聊", ["wx:laowang88"]),
        ("威 信：lao.wang.88", ["wx:laowang88"]),
        ("vx l a o w a n g 8 8", ["wx:laowang88"]),
        ("加vlaowang88", ["wx:laowang88"]),
        ("wechat: laowang88", ["wx:laowang88"]),
        ("微信13928471056", ["wx:13928471056"]),
        ("加薇 284601395", ["wx:284601395"]),
        ("微信 zhangxiaolong", ["wx:zhangxiaolong"]),
        # other places
        ("YY 60318 晚八点", ["yy:60318"]),
        ("歪歪频道 9042716", ["yy:9042716"]),
        ("抖音搜“老王回收”", ["dy:老王回收"]),
        ("快手号：laowang_88", ["ks:laowang_88"]),
        ("关注公众号【老王攻略】领礼包", ["gzh:老王攻略"]),
        ("抖音号 38174920", ["dy:38174920"]),
        ("飞机号 @laowang888", ["tg:laowang888"]),
        ("line id：laowang88", ["line:laowang88"]),
        # links
        ("打开 sf77.vip 领元宝", ["url:sf77.vip"]),
        ("http://WWW.Sf77.Com/login?x=1", ["url:sf77.com"]),
        ("hxxps://sf77[.]com", ["url:sf77.com"]),
        ("sf77（点）com", ["url:sf77.com"]),
        ("w w w 。 s", []),
        ("www点sf77点com", ["url:sf77.com"]),
        ("sf77 dot com", ["url:sf77.com"]),
        ("进 203.0.113.9:8080 更新", ["url:203.0.113.9"]),
        ("t.me/laowang88", ["url:t.me/laowang88"]),
        ("discord.gg/AbCd12", ["url:discord.gg/abcd12"]),
        ("复制 v.douyin.com/iRNBho6", ["url:v.douyin.com/irnbho6"]),
        # words that tell no type
        ("有意联系 2846013957", ["qq:2846013957"]),
        ("有意联系 13928471056", ["tel:13928471056"]),
        ("加盟电话联系 13928471056", ["tel:13928471056"]),
        # disguises that need no cue
        ("2捌4六0①3九57", ["qq:2846013957"]),
        ("６１８３５０９２７", ["qq:618350927"]),
        ("6-1-8-3-5-0-9-2-7", ["qq:618350927"]),
        # homophones need a cue, letters for digits too
        ("球球：儿八似留令医伞酒", ["qq:28460139"]),
        ("扣 28A6013957", []),
        ("扣 2846O1395l", ["qq:2846013951"]),
        ("扣 2846O13957", ["qq:2846013957"]),
        ("扣扣2B46o1395z", ["qq:2846013952"]),  # B is 8, b is 6
        ("企鹅7b26464417", ["qq:7626464417"]),
        ("群B303044196", ["qun:8303044196"]),
        ("加q81938265", ["qq:81938265"]),  # q is a cue there, no 9
        ("扣⠃⠓⠙⠋⠚⠁⠉⠊", ["qq:28460139"]),
        ("企鹅 ..--- ---.. ....- -.... ----- .---- ...-- ----.", ["qq:28460139"]),
        ("-----  ----- 分割线 ----- -----", []),
        ("扣2啊8啊4啊6啊0啊1啊3啊9", ["qq:28460139"]),
        ("扣2a8k4e6b0c1d3f9英文删了", ["qq:28460139"]),
        ("扣2x46013957里的x是8", ["qq:2846013957"]),
        ("微信同号幺三九贰八四柒壹零伍六", ["wx:13928471056"]),
        ("零零八六 1 3 9 二八四7一0五6", ["tel:13928471056"]),
        ("加q:l8O53927b4 (l是1 O是0 b是6)", ["qq:1805392764"]),
        ("💚 x i a o . q i 6 6 8", ["wx:xiaoqi668"]),
        ("加\n绿\n泡\n泡\nc_\nqing\n28", ["wx:c_qing28"]),
        ("收金票v_jinku_66", ["wx:jinku_66"]),
        ("我是剑v_x", []),
        # what is strewn over it, or stuck to it
        ("手=机1=3=9=2=8=4=7=1=0=5=6", ["tel:13928471056"]),
        ("群6[微笑]1[微笑]8[微笑]3[微笑]5[微笑]0[微笑]9[微笑]2[微笑]7", ["qun:618350927"]),
        ("加V g-x-w-v-_-3-9-2-0", ["wx:gxwv_3920"]),
        ("进 s*f*7*7*.*c*o*m", ["url:sf77.com"]),
        ("1+1+1+1+1+1+1+1+1", []),
        ("战绩 1-0-2-1-3-0-1", []),
        ("sj①叁9贰捌4七①〇5六", ["tel:13928471056"]),
        ("订单 sj13928471056", []),
        ("#R加#G微#B信#W fuchi_88 #Gxiao", ["wx:fuchi_88"]),
        ("加我薇 xiaochu_33", ["wx:xiaochu_33"]),
        ("gua . fps7 . xyz", ["url:gua.fps7.xyz"]),
        ("qipai 点 kk88 点 club", ["url:qipai.kk88.club"]),
        ("h t t p : / / k f - b f . t o p", ["url:kf-bf.top"]),
        ("i have 3000 . me too", []),
        ("💎648➡️💰388", []),
        # what follows is no part of the number
        ("扣二八四六零一三九两个号", ["qq:28460139"]),
        ("Q 6093 8214 20块起", ["qq:60938214"]),
        ("群 618350927 12人", ["qun:618350927"]),
        # shown from right to left
        ("微信 \u202e88oaix_gnef\u202c 谢谢", ["wx:feng_xiao88"]),
        # reversed
        ("倒着看 759310 6482 扣", ["qq:2846013957"]),
        ("\u202e7593106482\u202c 扣", ["qq:2846013957"]),
        ("信微我加 倒读 99_gnaw_oal", ["wx:lao_wang_99"]),
        # noise behind
        ("扣 284601395788", ["qq:28460139578"]),
        # torn, filled, boxed, listed
        ("手机 1 5 8 - 0 0 3 7 - 2 9 4 6", ["tel:15800372946"]),
        ("tel：+86 （139）2847 1056", ["tel:13928471056"]),
        ("加 q 6啊8呀3哦9嗯5啦7哈0嘿1", ["qq:68395701"]),
        ("扣🍎6🍎8🍎3🍎9🍎5🍎7🍎0🍎1", ["qq:68395701"]),
        ("(6)(8)(3)(9)(5)(7)(0)(1) 扣我", ["qq:68395701"]),
        ("群聊 813,746,205", ["qun:813746205"]),
        ("扣6、8、3、9、5、7、0、1", ["qq:68395701"]),
        ("扣 6839\n570\n12", ["qq:683957012"]),
        ("代喵练喵,喵扣喵 2918喵3745喵60", ["qq:2918374560"]),
        # spelt and sung
        ("加q liu ba san jiu wu qi ling yi", ["qq:68395701"]),
        ("QQ one six two nine zero three eight five", ["qq:16290385"]),
        ("扣扣 溜巴伞酒 武起令医", ["qq:68395701"]),
        ("溜巴伞酒武起令医 扣我", ["qq:68395701"]),
        ("群 63O18294S", ["qun:630182945"]),
        # told as riddles
        ("Q的头三位730,中间四位9142,末三位685", ["qq:7309142685"]),
        ("前三位 307 后面六位 192485 拼起来加我", ["qq:307192485"]),
        ("Q把x换成8:2x091x457", ["qq:280918457"]),
        ("把星星换成8，扣扣2星星091星星457", ["qq:280918457"]),
        ("这个扣得从右往左看：6482-759318", ["qq:8139572846"]),
        ("Q号前面五位 40928，后面四位反过来是 6173", []),
        ("群是 6183509 后面接上 27", ["qun:618350927"]),
        ("Q 2a8b4c6d0e1f3g9h5，字母都删掉", ["qq:284601395"]),
        ("扣 二八四丶六零一丶三九五", ["qq:284601395"]),
        ("扌口 284601395", ["qq:284601395"]),
        ("薇 x i a o m a n _ 8 8", ["wx:xiaoman_88"]),
        ("加 v m o _ l i 7 7", ["wx:mo_li77"]),
        ("微信是 mo 下划线 li77", ["wx:mo_li77"]),
        ("薇\n信\nmo_li_\n77", ["wx:mo_li_77"]),
        ("add line mo_li77", ["line:mo_li77"]),
        ("w.w.w.moli77.com", ["url:moli77.com"]),
        ("加V_mo_li77", ["wx:mo_li77"]),
        ("加呢我呢微呢信呢 mo_li_er77", ["wx:mo_li_er77"]),
        ("Q把字母去掉 6a8b3c9d5e7f0g1", ["qq:68395701"]),
        ("我的企鹅去掉前两位88再念:88四零一七三八五六二九", ["qq:4017385629"]),
        # in markup
        ("扣<u>60</u>93<u>82</u>1475", ["qq:6093821475"]),
        ("#c00ff00扣 #n30#n28#n17#n49#n65", ["qq:3028174965"]),
        ("[color=blue]微[/color]信 [b]xing[/b]xing_[i]77[/i]", ["wx:xingxing_77"]),
        # cues by sound, by leet, by pinyin
        ("加茄苇芯 hq_yb99", ["wx:hq_yb99"]),
        ("徽信 xiaohei77", ["wx:xiaohei77"]),
        ("家喂 xiaohei77", ["wx:xiaohei77"]),
        ("2744 7053 加口", ["qq:27447053"]),
        ("加w3ch4t号 sunny_9x2", ["wx:sunny_9x2"]),
        ("jia wei abc2077", ["wx:abc2077"]),
        # ids before their cue, torn ids, names without quotes
        ("lin_yue03 加我微信", ["wx:lin_yue03"]),
        ("C₳D571 薇", ["wx:cad571"]),
        ("V☆信:m☆n☆_☆8☆8☆0☆2", ["wx:mn_8802"]),
        ("加v：x-i-a-o-h-e-i-7-7", ["wx:xiaohei77"]),
        ("抖音搜 阿飞代练", ["dy:阿飞代练"]),
        ("公众号：老王福利社", ["gzh:老王福利社"]),
        ("搜抖音号 lao_wu.shouhao9", ["dy:lao_wu.shouhao9"]),
        # two cues for one number
        ("微信或者QQ2846013957 ok4gold", ["qq:2846013957"]),
        # dots
        ("三w点sf77点cc", ["url:sf77.cc"]),
        ("浏览器输 s f 7 7 . v i p", ["url:sf77.vip"]),
        ("领。福。利。点 w/w/w。gift-77。icu", ["url:gift-77.icu"]),
        ("cq88 . com", ["url:cq88.com"]),
        ("传奇私服 cq88.c0m", ["url:cq88.com"]),
        ("进 t . me / sell_acc_cn", ["url:t.me/sell_acc_cn"]),
    ],
)
def test_a_handle_is_found_in_its_canonical_form(text: str, expected: list[str]) -> None:
    assert found(text) == expected


# --- what is none ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        # ids of the game, even beside 加
        "UID 1837460295",
        "加我ID1837460295",
        "加好友 UID：18374602951",
        "我的好友码 18374602 互送体力",
        "角色编号：2846013957",
        "收徒，师徒码 284601395",
        "游戏id 一八三七四六零二九五",
        # rooms, guilds
        "房号 381 920",
        "开黑房间 3 8 1 9 2 0",
        "来桌斗地主 房号三八一九二零",
        "桌号 73820",
        "会号 618350 秒批",
        "公会号：61835092",
        # places and figures
        "坐标 381,920",
        "(1381,2920) 集合",
        "战力 28460139 求带",
        "秒伤破 2846013",
        "总伤害 1392847105",
        "血 2846013 防 92810 攻 37401",
        "这把打了 13928471 伤害",
        "28460139战力",
        "经验还差 28460139",
        "元宝 2846013",
        "卖了 284601 金",
        "28460万战力",
        "二八四六零一三九二零万战力",
        # codes
        "礼包码 QF82KM31",
        "兑换码：VIP666888",
        "激活码 20938471",
        "SPRING20261 已领",
        "订单号 2026112100019374",
        # times, versions, ratios, lists
        "2026-11-21 20:30 开服",
        "20261121 维护",
        "群里 2026年11月21日 公告",
        "20:30-22:00 双倍",
        "版本 1.20.30.40",
        "更新到 12.4.0.18273",
        "1:7900 收",
        "比例 1:46000",
        "1 2 3 5 8 线有车",
        "一二三四五，上山打老虎",
        "12345678",
        "1.2.3.4.5.6.7",
        "10 9 8 7 6 5 4 3 2 1",
        "分数 15 20 35 40 120",
        "3.14159265358979",
        # numbers everybody writes
        "666666666",
        "23333333",
        "5201314 一生一世",
        "扣 666666",
        "扣1 扣2 扣3",
        "88888888 发发发",
        "有事打 10086",
        # cue words that mean something else
        "群攻 128460 一下秒",
        "打boss 1284601 群伤",
        "威信值 128460",
        "企鹅坐骑 卖 128460",
        "折扣 128460",
        "v8 大佬 1284601",
        "vip群 128",
        "V8 10293847",
        "v1.20.30401 更新了什么",
        "企鹅 打了 12938",
        "联系不上 38291",
        "加我游戏号 1029384756",
        "密码 883921 进房",
        "累计 300 600 900 1200 1500",
        "6 9 12 15 18 21 级各一件",
        "add me 1029384756",
        "steam 76561198012345678",
        "微信登录不上 报错 -10004",
        "QQ区 128 服",
        "电话费充了 100000",
        "抖音看到的 128460 赞",
        "手机没电了 128460",
        # words that look like ids or links
        "微信 wechat",
        "微信 是不是 blizzard 出的",
        "vx 是什么",
        "gg.me 走了",
        "mid.top miss",
        "晚上8点top见",
        "ok. me too",
        "网关 10.0.0.1",
        "192.168.1.1:8080",
        "node.js",
        "看 www.bilibili.com",
        "someone@example.com",
        # lists and figures in the shapes of disguise
        "得分 3,5,2,1,4,4,2,1,9",
        "总伤 128,460,392",
        "3金5银7铜9铁2木",
        "一是一二是二",
        "三三两两四五六七",
        "yi er san si wu liu qi",
        "one two three four five six seven",
        "要是我是你就好了",
        "先打 30 再打 50 最后 70 级",
        "去掉 12846 经验",
        # cues that go on as other words
        "微波炉 abc_2077",
        "丘丘人 28460139 血",
        "q技能 128460",
        "威武 abc_2077",
        "iphone15 微信闪退",
        "角色名 abc_2077 微信区",
        "id abc_2077 微信好友",
        "A L L S E R V l C E S C A M",
        # names nobody searches
        "抖音搜一下就有",
        "抖音搜 一下教程",
        "公众号 绑定角色",
        "小红书搜索功能坏了",
        # figures
        "数独第一行 5 3 4 6 7 8 9 1 2",
        "出了 3 4 3 3 4 4 3 5 3 星",
        "报错 err.net.1003",
        # too little
        "QQ 0283746",
        "QQ 1234",
        "加 2846013957",
        "2846013957",
        "284 601 395",
        "微信 abc",
        "",
        " ",
    ],
)
def test_what_only_looks_like_a_handle_is_none(text: str) -> None:
    assert found(text) == []


@pytest.mark.parametrize("case", (HERE / "data" / "handles.jsonl").read_text(encoding="utf-8").splitlines())
def test_the_handle_cases(case: str) -> None:
    told = json.loads(case)
    wanted = {h["value"] for h in told["handles"]}
    assert {h.value for h in FINDER.find(fold(told["text"]))} == wanted


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("高价683015927", ["wx:683015927"]),
        ("代练dl_feng09", ["wx:dl_feng09"]),
        ("dl_feng09上分", ["wx:dl_feng09"]),
        ("战神20080816", []),
        ("糖醋排骨", []),
    ],
)
def test_in_a_name_an_offer_says_that_what_is_beside_it_is_a_contact(name: str, expected: list[str]) -> None:
    assert [f"{h.type}:{h.value}" for h in FINDER.find(fold(name), "name")] == expected
    assert found(name) == []


def test_an_official_contact_is_not_reported_however_it_is_written() -> None:
    assert found("官方QQ 800173905") == []
    assert found("官方群 八零零一七三九零五") == []
    assert found("客服电话 400-600-1234") == []
    assert found("公告 https://news.example.com/1") == []


def test_a_game_with_eleven_digit_player_ids_takes_no_bare_number_for_a_phone() -> None:
    finder = HandleFinder(_grammar(uid_lengths=["11"]))
    assert found("13928471056", finder) == []
    assert found("电话 13928471056", finder) == ["tel:13928471056"]


def test_a_new_cue_word_works_in_every_disguise() -> None:
    cues = _grammar().cues
    finder = HandleFinder(_grammar(cues=cues | {"qq": (*cues["qq"], "咕咕號")}))
    assert found("咕.咕 号 2846013957") == []
    assert found("咕.咕 号 2846013957", finder) == ["qq:2846013957"]


def test_the_span_covers_the_raw_text_and_nothing_else() -> None:
    raw = "\u200b收号，加 扣 ２８４\u200b６０ 1395 谢谢"
    handle = FINDER.find(fold(raw), "signature")[0]
    assert handle == Handle("qq", "284601395", (8, 19), "signature", obfuscated=True)
    assert raw[slice(*handle.span)] == "２８４\u200b６０ 1395"


@pytest.mark.parametrize(
    ("text", "obfuscated"),
    [
        ("QQ 284601395", False),
        ("QQ 284 601 395", True),
        ("QQ ２８４６０１３９５", True),
        ("微信 LaoWang88", False),
        ("微信 lao.wang88", True),
        ("https://SF77.com/x", False),
        ("sf77点com", True),
    ],
)
def test_obfuscated_means_that_the_text_does_not_simply_spell_it(text: str, obfuscated: bool) -> None:
    assert [h.obfuscated for h in FINDER.find(fold(text))] == [obfuscated]


@pytest.mark.parametrize(
    ("handle", "keys"),
    [
        (("qq", "284601395"), ("qq:284601395", "num:284601395")),
        (("wx", "284601395"), ("wx:284601395", "num:284601395")),
        (("tel", "13928471056"), ("tel:13928471056", "num:13928471056")),
        (("wx", "13928471056"), ("wx:13928471056", "num:13928471056")),
        (("qq", "28460139578"), ("qq:28460139578", "num:28460139578", "num:284601395", "num:2846013957")),
        (("wx", "lao_wang88"), ("wx:lao_wang88",)),
        (("url", "sf77.com"), ("url:sf77.com",)),
    ],
)
def test_a_number_links_under_every_cue_and_a_long_one_by_its_first_digits(
    handle: tuple[Any, str], keys: tuple[str, ...]
) -> None:
    assert aliases(Handle(*handle, (0, 1), "text")) == keys


def test_the_gate_searches_many_texts_at_once() -> None:
    cases = [json.loads(line) for line in (HERE / "data" / "handles.jsonl").read_text(encoding="utf-8").splitlines()]
    texts = [fold(case["text"]).text for case in cases]
    joined = JOINT.join(texts)
    spans = [m.span() for gate in FINDER.gates for m in gate.pattern.finditer(joined)]
    assert not any(JOINT in joined[start:end] for start, end in spans)
    seen = {joined.count(JOINT, 0, start) for start, _ in spans}
    assert {at for at, case in enumerate(cases) if case["handles"]} <= seen
    assert seen == {at for at, text in enumerate(texts) if FINDER.may_contain(text)}


@pytest.mark.parametrize("text", ["今天打副本有人来吗", "老板大气，谢谢红包", "666", "good game", "战力八万求组"])
def test_ordinary_chat_does_not_pass_the_gate(text: str) -> None:
    assert not FINDER.may_contain(fold(text).text)


def test_a_handle_said_twice_is_reported_once() -> None:
    assert found("扣284601395 扣2846①0139⑤ 扣284601395") == ["qq:284601395", "qq:2846101395"]


def test_no_word_of_the_grammar_has_two_meanings() -> None:
    grammar = _grammar()
    words = [
        *grammar.negative_before,
        *grammar.loose_cues,
        *grammar.contact_cues,
        *grammar.not_cues,
        *grammar.reversing,
    ]
    words += [w for cues in grammar.cues.values() for w in cues]
    folded = [fold(w).text for w in words]
    assert sorted(w for w in set(folded) if folded.count(w) > 1) == []


def test_no_character_stands_for_two_digits() -> None:
    grammar = _grammar()
    for table in ({**grammar.digit_words}, {**grammar.homophones}, {**grammar.lookalikes}):
        chars = "".join(table.values())
        assert len(set(chars)) == len(chars)
    assert not set("".join(grammar.digit_words.values())) & set("".join(grammar.homophones.values()))


# --- invariants ------------------------------------------------------------------------------------------------------

SCRIPTS = {
    "fullwidth": "０１２３４５６７８９",
    "circled": "⓪①②③④⑤⑥⑦⑧⑨",
    "negative circled": "⓿❶❷❸❹❺❻❼❽❾",
    "mathematical": "𝟬𝟭𝟮𝟯𝟰𝟱𝟲𝟳𝟴𝟵",
    "superscript": "⁰¹²³⁴⁵⁶⁷⁸⁹",
    "persian": "۰۱۲۳۴۵۶۷۸۹",
    "han": "零一二三四五六七八九",
    "financial": "零壹贰叁肆伍陆柒捌玖",
    "spoken": "洞幺两三四五六拐八勾",
}
EVERYDAY = ("12345678", "5201314", "1314520", "7758521", "147258369")
#: Numbers nobody takes for something else: many digits, neither a date, nor a phone, nor round.
qq_numbers = st.from_regex(r"[2-9][0-9]{7,9}", fullmatch=True).filter(
    lambda n: len(set(n)) > 3 and not n.endswith("00000") and not n.startswith(("19", "20")) and n not in EVERYDAY
)
wx_ids = st.from_regex(r"[a-z]{2,5}_[a-z0-9]{2,8}[0-9]{2}", fullmatch=True)


def _written(number: str, script: str) -> str:
    return "".join(SCRIPTS[script][int(d)] for d in number)


@given(qq_numbers, st.sampled_from(sorted(SCRIPTS)), st.sampled_from(["扣", "Q", "企鹅：", "加QQ "]))
def test_no_script_hides_a_number(number: str, script: str, cue: str) -> None:
    assert found(f"{cue}{_written(number, script)}") == [f"qq:{number}"]


@given(qq_numbers, st.data())
def test_no_mix_of_scripts_hides_a_number(number: str, data: st.DataObject) -> None:
    scripts = data.draw(st.lists(st.sampled_from(sorted(SCRIPTS)), min_size=len(number), max_size=len(number)))
    mixed = "".join(_written(d, s) for d, s in zip(number, scripts, strict=True))
    assert found(f"收号 扣 {mixed} 聊") == [f"qq:{number}"]


@given(qq_numbers, st.sampled_from([" ", ".", "-", "/", "_", "*", "~", "·", "\n", "\u200b", "  ", "|", "👍", "\u0336"]))
def test_no_separator_hides_a_number(number: str, separator: str) -> None:
    assert found(f"群 {separator.join(number)}") == [f"qun:{number}"]


@given(qq_numbers, st.sampled_from("啊呀的了"))
def test_a_filler_between_the_digits_does_not_hide_them(number: str, filler: str) -> None:
    assert found(f"扣扣{filler.join(number)}") == [f"qq:{number}"]


@given(qq_numbers, st.data())
def test_homophones_beside_a_cue_are_read(number: str, data: st.DataObject) -> None:
    sounds = _grammar().homophones
    spoken = "".join(data.draw(st.sampled_from(sounds[d])) for d in number)
    assert found(f"球号：{spoken}，低价") == [f"qq:{number}"]
    assert found(spoken) == []


@given(qq_numbers)
def test_a_reversed_number_with_a_hint_is_turned_round(number: str) -> None:
    assume(number[-1] != "0")
    assert found(f"q号倒着 {number[::-1]}") == [f"qq:{number}"]


@given(
    wx_ids, st.sampled_from(["微信", "加V ", "vx:", "薇 信：", "💚"]), st.sampled_from(["", ".", "·", "*", "\u200b"])
)
def test_no_separator_hides_an_id(wx: str, cue: str, separator: str) -> None:
    assume(not any(wx.startswith(word) for word in ("id", "vx", "wx", "v_", "tg_", "qq", "q_")))
    assert found(f"详聊{cue}{separator.join(wx)}") == [f"wx:{wx}"]


NUMBERS = st.integers(10_000, 99_999_999_999).map(str)
GAME_TALK = [
    "UID {}", "我的ID：{} 加我", "玩家编号{}", "好友码 {} 互送", "房号 {}", "房间{} 差一个", "坐标 {},{}", "战力{}求组",
    "秒伤{}", "这刀 {} 伤害", "兑换码 {}", "会号 {}", "{}万战力", "血量{} 攻击{} 防御{}", "经验 {}", "版本 {}",
    "订单 {}", "加好友 UID {}", "dps {}", "积分 {}", "端口 {}", "礼包码{}", "元宝{}", "{} 伤害", "贡献 {}",
]  # fmt: skip


@given(st.sampled_from(GAME_TALK), st.lists(NUMBERS, min_size=3, max_size=3), st.sampled_from(["", *SCRIPTS]))
def test_the_numbers_of_a_game_are_no_handles(template: str, numbers: list[str], script: str) -> None:
    written = [_written(n, script) if script else n for n in numbers]
    assert found(template.format(*written)) == []


ALPHABET = "扣群q微信加id房号.。点com top:/@_-, 0123456789一二三零壹①０wabn\u200b\n“”抖音搜"
ANYTHING = st.text(st.sampled_from(ALPHABET), max_size=60)


@given(ANYTHING)
@example("q@qq.com")
@example("12345@qq.com")
@example("微信" * 20)
def test_whatever_is_written_handles_are_canonical_and_lie_in_the_text(text: str) -> None:
    folded = fold(text)
    for handle in FINDER.find(folded):
        first, last = handle.span
        assert 0 <= first < last <= len(text)
        assert handle.value == handle.value.strip().casefold() != ""
        assert FINDER.may_contain(folded.text)
        if handle.type in {"qq", "qun", "tel", "yy"}:
            assert handle.value.isascii()
            assert handle.value.isdigit()
            assert handle.value[0] != "0"


@given(ANYTHING)
def test_reading_twice_gives_the_same(text: str) -> None:
    assert FINDER.find(fold(text)) == FINDER.find(fold(text))


HOSTILE = {
    "digits": "1234567890" * 205,
    "dots": "." * 2048,
    "dotted letters": "a." * 1024,
    "spoken dots": "a点" * 1024,
    "cues": "扣群微信" * 512,
    "cue and digit": "扣1" * 1024,
    "numbers": "扣12345 " * 256,
    "homophones": "八久令" * 682,
    "quotes": "抖音搜“" * 512,
    "mail": "a@" * 1024,
    "ids": "v a" * 682,
    "letters": "o1" * 1024,
    "octets": "1.2.3.4." * 256,
    "www": "w w w." * 341,
    "filled": "1啊" * 1024,
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE.keys())
def test_no_text_costs_more_than_a_few_times_its_length(text: str) -> None:
    """Growth, not speed: eight times the text may cost sixteen times as much, where squares would cost sixty-four."""
    short, long = fold(text[:64]), fold(text[:512])
    assert _seconds(long) <= 16 * _seconds(short) + 0.002


def _seconds(folded: Any) -> float:
    def once() -> float:
        start = time.process_time()
        FINDER.find(folded)
        return time.process_time() - start

    return min(once() for _ in range(5))
