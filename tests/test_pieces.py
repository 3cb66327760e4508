"""Pieces: what was torn apart over several messages, and what was not."""

from __future__ import annotations

from typing import TYPE_CHECKING

from moderation.pieces import JOIN_MOST, JOIN_MS, SHORT, Pieces, together
from tests.small_rules import event

if TYPE_CHECKING:
    from moderation.events import ChatEvent


def add(pieces: Pieces, said: ChatEvent) -> list[str]:
    return list(pieces.add(said, said.text, new=False))


def last(*texts: str, gap_s: int = 1) -> list[str]:
    """What the last of one player's messages may belong to."""
    pieces = Pieces()
    return [add(pieces, event(text, n, at_s=n * gap_s)) for n, text in enumerate(texts)][-1]


def test_scraps_belong_together_and_whole_sentences_do_not() -> None:
    assert last("加扣", "7381", "920465") == ["加扣", "7381", "920465"]
    assert last("代", "练") == ["代", "练"]
    assert last("你好", "今天打本吗") == []
    assert last("7381920465") == []
    assert last("7381", "920465", gap_s=JOIN_MS // 1000 + 1) == []


def test_a_long_message_between_pieces_is_no_piece() -> None:
    assert last("7381", "长" * (SHORT + 1), "920465") == ["7381", "920465"]
    assert last("7381", "0" * (SHORT + 1)) == []


def test_pieces_are_the_few_short_messages_before_this_one_and_none_after_it() -> None:
    pieces = Pieces()
    chat = [event(f"{number:03}", number, at_s=number) for number in range(JOIN_MOST + 4)]
    assert [add(pieces, said) for said in chat][-1] == [f"{number:03}" for number in range(4, JOIN_MOST + 4)]
    assert add(pieces, chat[5]) == ["004", "005"]


def test_a_message_that_comes_again_is_not_its_own_piece() -> None:
    pieces = Pieces()
    first, second = event("加扣", 0), event("7381920", 1, at_s=1)
    assert [add(pieces, said) for said in (first, second, first, second)] == [[], ["加扣", "7381920"]] * 2


def test_one_who_was_silent_longest_is_forgotten_first() -> None:
    pieces = Pieces(most=2)
    for n, account in enumerate(("a", "b", "a", "c")):
        add(pieces, event("7381", n, account=account))
    assert add(pieces, event("920465", 8, account="a")) == ["7381", "7381", "920465"]
    assert add(pieces, event("920465", 9, account="b")) == []


def test_pieces_are_put_together_one_after_the_other_or_line_by_line() -> None:
    assert together(["加扣", "7381", "920"]) == ("加扣 7381 920", 3)
    assert together(["加\n7\n9", "Q\n3\n2"]) == ("加Q\n73\n92", 5)
    assert together(["加\n7", "Q\n3\n2"]) == ("加\n7 Q\n3\n2", 5)
    assert together(["出金"]) == ("出金", 2)


def test_a_number_dictated_among_small_talk_stands_behind_what_it_is() -> None:
    dictated = ["企鹅号记一下", "六二零，卡了", "今天天气好", "继续，七三九"]
    assert together(dictated) == ("六二零，卡了 今天天气好 继续，七三九 企鹅号记一下 六二零 七三九", 3)
    assert together(["老地方见", "加q 3517920486"]) == ("老地方见 加q 3517920486", 13)  # all at once
    assert together(["三缺一", "来2个", "还差1个"]) == ("三缺一 来2个 还差1个", 4)  # too few digits
