"""The 44 ways offenders hide what they say, each a function of a plain offence and a source of chance.

A trick hides the marked words, the cue and the handle, most of them and at least one, as an offender would, not every
character. It gives None where a line has nothing it could hide.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

from msgspec import Struct
from msgspec.structs import replace

from bench import spellings
from bench.wording import Part, Plain, Role, table

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from random import Random

    from bench.spellings import Choose, Spell


class Disguised(Struct, frozen=True):
    """What is sent: messages one after another, by a player who may carry part of it in their name or guild."""

    messages: tuple[str, ...]
    name: str | None = None
    guild: str | None = None
    signature: str | None = None


Hide: TypeAlias = "Callable[[Plain, Random], Disguised | None]"

#: How often a part that could be hidden is.
SHARE: Final = 0.85
_WORDS: Final[tuple[Role, ...]] = ("word", "cue")
_ALL: Final[tuple[Role, ...]] = ("word", "cue", "handle")


class Technique(NamedTuple):
    """One way to hide."""

    number: int
    name: str
    hide: Hide


def _rewritten(plain: Plain, draw: Random, spell: Spell, roles: Sequence[Role]) -> str | None:
    """Spell the parts of the given roles otherwise; None where no spelling differs."""
    spelled = {n: spell(p.text, draw) for n, p in enumerate(plain.parts) if p.role in roles}
    changed = {n: text for n, text in spelled.items() if text != plain.parts[n].text}
    if not changed:
        return None
    sure = draw.choice(list(changed))
    kept = {n for n in changed if n == sure or draw.random() < SHARE}
    parts = [p._replace(text=changed[n]) if n in kept else p for n, p in enumerate(plain.parts)]
    return "".join(p.text for p in parts) if "handle" in roles else _glued(parts, draw)


def _glued(parts: Sequence[Part], draw: Random) -> str:
    """Join parts; between a cue in letters and a handle in letters an offender leaves a gap."""
    text = ""
    for part in parts:
        if (
            part.role == "handle"
            and text[-1:].isalpha()
            and not spellings.HAN.match(text[-1:])
            and part.text[:1].isalpha()
        ):
            text += draw.choice((" ", ":", "："))
        text += part.text
    return text


def _spelling(spell: Spell, roles: Sequence[Role]) -> Hide:
    def hide(plain: Plain, draw: Random) -> Disguised | None:
        text = _rewritten(plain, draw, spell, roles)
        return None if text is None else Disguised((text,))

    return hide


def _all_over(choose: Choose) -> Hide:
    """Spell words, cue and handle by one spelling that is chosen for the line."""

    def hide(plain: Plain, draw: Random) -> Disguised | None:
        return _spelling(choose(draw), _ALL)(plain, draw)

    return hide


def _wording(spell: Spell) -> Hide:
    """Spell the words otherwise, and in every second line the number too: left alone it would give them away."""

    def hide(plain: Plain, draw: Random) -> Disguised | None:
        both = plain.handle.isdigit() and draw.random() < 0.5
        respelled = [
            p._replace(text=spellings.mixed(p.text, draw)) if both and p.role == "handle" else p for p in plain.parts
        ]
        text = _rewritten(replace(plain, parts=tuple(respelled)), draw, spell, _WORDS)
        return None if text is None else Disguised((text,))

    return hide


def _number(spell: Spell) -> Hide:
    """Spell the handle otherwise where it is a number."""

    def hide(plain: Plain, draw: Random) -> Disguised | None:
        if not plain.handle.isdigit():
            return None
        text = _rewritten(plain, draw, spell, ("handle",))
        return None if text is None else Disguised((text,))

    return hide


def _plain(plain: Plain, _: Random) -> Disguised:
    return Disguised((plain.text,))


def _pinyin_line(plain: Plain, draw: Random) -> Disguised | None:
    """Write the words that matter in pinyin, or the whole line."""
    if draw.random() < 0.3:
        said = spellings.HAN.sub(lambda run: f" {' '.join(spellings.pinyin(run[0]))} ", plain.text).strip()
        return Disguised((said.replace(" ，", ","),))
    return _wording(spellings.romanized)(plain, draw)


def _compatible(plain: Plain, draw: Random) -> Disguised | None:
    """Replace what can be, all over the line, provided it is in a word that matters."""
    if _rewritten(plain, draw, spellings.each(spellings.compatibles()), _WORDS) is None:
        return None
    return Disguised((spellings.each(spellings.compatibles())(plain.text, draw),))


def _traditional(plain: Plain, draw: Random) -> Disguised | None:
    written = table("glyphs")["traditional"]
    turn = str.maketrans(written["plain"], written["written"])
    taiwan = draw.random() < 0.5
    said = _rewritten(plain, draw, spellings.longest(table("words")["taiwan"]), _WORDS) if taiwan else None
    text = (said or plain.text).translate(turn)
    return (
        Disguised((text,)) if any(p.text.translate(turn) != p.text for p in plain.parts if p.role in _WORDS) else None
    )


def _dialect(plain: Plain, draw: Random) -> Disguised | None:
    """Say the whole line in a dialect, the handle aside; it takes two words to make one."""
    words = draw.choice(list(table("words")["dialect"].values()))
    speak = spellings.longest(words)
    said = "".join(p.text if p.role == "handle" else speak(p.text, draw) for p in plain.parts)
    known = sum(word in plain.text for word, other in words.items() if word != other)
    return Disguised((said,)) if known >= 2 and said != plain.text else None


def _letters_of(style: Spell) -> Hide:
    """Write the cue in letters of a style, and the handle if it has letters too."""
    cue = spellings.longest(table("words")["letters"])

    def hide(plain: Plain, draw: Random) -> Disguised | None:
        if plain.kind == "url":
            return None
        changed = [p if p.role == "said" else p._replace(text=style(cue(p.text, draw), draw)) for p in plain.parts]
        text = _glued(changed, draw)
        return Disguised((text,)) if text != plain.text and not text.isascii() and plain.cue not in text else None

    return hide


def _reversed(plain: Plain, draw: Random) -> Disguised | None:
    way = draw.randrange(3)
    if way == 0 and plain.handle:
        return _spelling(lambda text, _: f"\u202e{text[::-1]}\u202c", ("handle",))(plain, draw)
    if way == 1 and plain.handle:
        hint = draw.choice(("倒着念：", "反过来看：", "倒过来 "))
        return Disguised((f"{plain.pitch}，{hint}{plain.handle[::-1]}{plain.cue[::-1]}",))
    return _spelling(lambda text, _: text[::-1], _WORDS)(plain, draw)


def _stacked(plain: Plain, draw: Random) -> Disguised | None:
    """One character a line; or the cue downwards, with a part of the number beside each character."""
    way = draw.randrange(3)
    if way == 0 and plain.handle and plain.kind != "url":
        return Disguised(("\n".join((plain.pitch, *plain.cue, *plain.handle)),))
    if way == 1 and plain.handle.isdigit():
        size = -(-len(plain.handle) // len(plain.cue))
        rows = (f"{c} {plain.handle[n * size : (n + 1) * size]}" for n, c in enumerate(plain.cue))
        return Disguised(("\n".join((plain.pitch, *rows)),))
    return _spelling(spellings.joined(("\n", "▏"))(draw), _WORDS)(plain, draw)


def _acrostic(plain: Plain, draw: Random) -> Disguised | None:
    words = table("words")
    if plain.label not in words["acrostic"] or not plain.handle:
        return None
    phrase = draw.choice(words["acrostic"][plain.label].split("|"))
    ends = draw.random() < 0.35 and all(c in words["tails"] for c in phrase)
    clauses = [draw.choice(words["tails" if ends else "heads"][c].split("|")) for c in phrase]
    return Disguised((draw.choice(("，", "\n", "。")).join((*clauses, plain.handle)),))


def _carried(plain: Plain, draw: Random) -> Disguised | None:
    """Carry the contact as name, guild or signature, and point there."""
    if not plain.handle or plain.kind == "url":
        return None
    where, pointers = draw.choice(list(table("words")["carrier"].items()))
    text = f"{plain.pitch}，{draw.choice(pointers.split('|'))}"
    return replace(Disguised((text,)), **{where: plain.cue + plain.handle})


def _split(plain: Plain, draw: Random) -> Disguised | None:
    """Send it in pieces: pitch, cue and parts of the handle; or the words that matter one character a message."""
    if not plain.handle or plain.kind == "url":
        return None
    cuts = sorted(draw.sample(range(1, len(plain.handle)), 1 + draw.randrange(2)))
    pieces = [plain.handle[a:b] for a, b in zip((0, *cuts), (*cuts, len(plain.handle)), strict=True)]
    match draw.randrange(3):
        case 0:
            return Disguised((plain.pitch, plain.cue or "联系", *pieces))
        case 1:
            return Disguised((f"{plain.pitch}，{plain.cue}", *pieces))
        case _:
            words = [p.text for p in plain.parts if p.role == "word"][:1]
            return Disguised((*"".join(words), *plain.cue, *pieces))


def _padded(plain: Plain, draw: Random) -> Disguised | None:
    lines = draw.choice(list(table("words")["padding"].values()))
    return Disguised((draw.choice(lines.split("|")).replace("{}", plain.text),))


TECHNIQUES: Final[tuple[Technique, ...]] = (
    Technique(1, "plain", _plain),
    Technique(2, "zero-width", _all_over(spellings.invisible(spellings.ZERO_WIDTH))),
    Technique(3, "soft hyphen, tags", _all_over(spellings.invisible(spellings.UNSEEN))),
    Technique(4, "separators", _all_over(spellings.joined(spellings.SEPARATORS))),
    Technique(5, "spaces", _all_over(spellings.joined((" ", "  ", "\u3000", "\u2003", "\u00a0")))),
    Technique(6, "noise between", _all_over(spellings.noise)),
    Technique(7, "brackets", _all_over(spellings.boxed)),
    Technique(8, "full-width", _spelling(spellings.wide, _ALL)),
    Technique(9, "enclosed digits", _number(spellings.in_script(spellings.SCRIPTS["enclosed"]))),
    Technique(10, "raised, keycap digits", _number(spellings.keycaps)),
    Technique(11, "roman numerals", _number(spellings.in_script(spellings.SCRIPTS["roman"]))),
    Technique(12, "Chinese numerals", _number(spellings.in_script(spellings.SCRIPTS["han"]))),
    Technique(13, "financial numerals", _number(spellings.in_script(spellings.SCRIPTS["financial"]))),
    Technique(14, "mixed digit scripts", _number(spellings.mixed)),
    Technique(15, "spoken digits", _number(spellings.in_script(spellings.SCRIPTS["spoken"]))),
    Technique(16, "pinyin digits", _number(spellings.syllables)),
    Technique(17, "homophone digits", _number(spellings.sounding)),
    Technique(18, "letters for digits", _number(spellings.lettered)),
    Technique(19, "foreign digits", _number(spellings.in_script(spellings.SCRIPTS["foreign"]))),
    Technique(20, "Suzhou, braille, morse", _number(spellings.rare)),
    Technique(21, "riddles", _number(spellings.riddle)),
    Technique(22, "homophones", _wording(spellings.same_sound)),
    Technique(23, "near homophones", _wording(spellings.near_sound)),
    Technique(24, "pinyin", _pinyin_line),
    Technique(25, "initials", _wording(spellings.initials)),
    Technique(26, "emoji", _wording(spellings.from_glyphs("emoji"))),
    Technique(27, "look-alike characters", _wording(spellings.each(table("glyphs")["alike"], share=0.8))),
    Technique(28, "split characters", _wording(spellings.from_glyphs("split"))),
    Technique(29, "radicals", _compatible),
    Technique(30, "traditional", _traditional),
    Technique(31, "dialect", _dialect),
    Technique(32, "other languages", _wording(spellings.foreign)),
    Technique(33, "look-alike letters", _letters_of(spellings.lookalike)),
    Technique(34, "leet, wrong keys", _wording(spellings.mistyped)),
    Technique(35, "styled letters", _letters_of(spellings.styled)),
    Technique(36, "combining marks", _all_over(spellings.struck)),
    Technique(37, "reversed", _reversed),
    Technique(38, "vertical", _stacked),
    Technique(39, "acrostic", _acrostic),
    Technique(40, "split messages", _split),
    Technique(41, "name, guild, signature", _carried),
    Technique(42, "mark-up", _all_over(spellings.marked_up)),
    Technique(43, "padding, fake quote", _padded),
    Technique(44, "code words", _wording(spellings.longest(table("words")["code"]))),
)  # fmt: skip
