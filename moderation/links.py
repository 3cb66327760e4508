"""Links, and what looks like one: hosts, addresses of four numbers, mailboxes, with the dot written as it may be."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from moderation.cues import REACH, Found, any_of, free
from moderation.fold import fold

if TYPE_CHECKING:
    from collections.abc import Iterator

    from moderation.cues import HandleGrammar

_EMAIL: Final = re.compile(r"(?<![a-z0-9_.-])([a-z0-9_.-]{1,64})@([a-z0-9-]{1,63}(?:\.[a-z0-9-]{1,63}){1,3})")
_QQ_MAIL: Final = re.compile(r"[1-9]\d{4,10}")
_IPV4: Final = re.compile(
    r"(?<![a-z0-9_.-])(?P<scheme>h(?:tt|xx)ps?\s?:\s?//\s?)?(?P<host>[0-9]{1,3}(?:\.[0-9]{1,3}){3})(?![\d.])(?P<tail>:[0-9]{1,5}|/)?"
)
_PRIVATE: Final = re.compile(r"(?:0|10|127|192\.168|172\.(?:1[6-9]|2\d|3[01])|169\.254|22[4-9]|2[3-5]\d)\.")
_has_letter: Final = re.compile("[a-z]").search
_HAN: Final = re.compile(r"[\u4e00-\u9fff]")
#: Endings nobody uses as a word: spaces around their dot are no end of a sentence.
_PLAIN_ENDINGS: Final = "com|cn|net|xyz|icu"
#: A link torn into single characters: q c q 5 5 . v i p.
_TORN: Final = re.compile(r"(?<![a-z0-9])(?:[a-z0-9.。点/:-]\s){5,}[a-z0-9](?![a-z0-9])")


class Links:
    """Hosts: known endings behind a dot in any spelling; addresses of numbers where something says link."""

    def __init__(self, grammar: HandleGrammar) -> None:
        self._word_tlds = frozenset(grammar.word_tlds)
        self._path_hosts = frozenset(grammar.path_hosts)
        self._harmless = frozenset(grammar.harmless_hosts)
        self._cue = re.compile(any_of(grammar.address_cues))
        self._spoken = {fold(w).text: tld for tld, words in grammar.spoken_tlds.items() for w in words}
        plain = any_of(d for d in grammar.dot_words if len(d) == 1)
        words = any_of(d.strip() for d in grammar.dot_words if len(d) > 1)
        every = (*grammar.tlds, *grammar.word_tlds, *self._spoken)
        tlds = any_of(every)
        certain = rf"(?=(?:[a-z0-9-]{{1,63}}\s?(?:{plain})\s?)?(?:{tlds})(?![a-z0-9-]))"
        comma = rf",(?=(?:{_PLAIN_ENDINGS})(?![a-z0-9-]))"
        dot = rf"(?:\s(?:{plain})\s?{certain}|(?:{plain})(?:\s{certain})?|{comma}|\s?(?:{words})\s?)"
        three = rf"(?:w[\s/·*_|-]{{0,2}}w[\s/·*_|-]{{0,2}}w|三个?w|3w|三达不溜)\s?{dot}"
        self._dot = re.compile(rf"\s?(?:{plain}|{words}|,)\s?")
        self._ending = re.compile(rf"(?:{plain}|{words})\s?(?:{tlds})(?![a-z0-9-])|{comma}")
        self._host = re.compile(
            rf"(?<![a-z0-9.-])(?P<www>h(?:tt|xx)ps?\s?:\s?//\s?(?:{three})?|{three})?"
            rf"(?P<host>(?:[a-z0-9-]{{1,63}}{dot}){{1,6}}(?P<tld>{tlds}))(?![a-z0-9_-]|\.[0-9])(?::\d{{1,5}})?"
            rf"(?:(?P<slash>\s?/\s?)(?P<rest>[\w+/-]{{0,64}}))?",
            re.ASCII,
        )
        octet = r"[0-9]{1,3}"
        torn = rf"(?:[a-z0-9]\s){{2,}}(?:{plain}|{words})\s"
        latin, other = (any_of(t for t in every if t.isascii() == ascii_) for ascii_ in (True, False))
        ending = rf"(?:{plain}|{words})\s?(?:(?:{latin})\b|{other})|,(?:{_PLAIN_ENDINGS})\b"
        self.gate = rf"{ending}|{torn}|(?:{octet}\.){{3}}{octet}"

    def find(self, text: str) -> list[Found]:
        """Return the links; with them, so that nothing else is read there, places that are no handles at all."""
        found = list(_mails(text)) if "@" in text else []
        if _has_letter(text):
            found += free(self._torn(text), found)
            if self._ending.search(text):
                found += free(self._hosts(text), found)
        return found + free(self._addresses(text), found) if text.count(".") >= 3 else found

    def _hosts(self, text: str) -> Iterator[Found]:
        for m in self._host.finditer(text):
            host = self._plain(m["host"], m["tld"])
            if self._is_link(text, m, host):
                value = f"{host}/{m['rest']}" if host in self._path_hosts and m["rest"] else host
                yield Found(m.start(), m.end(), "url", "" if value in self._harmless else value)

    def _plain(self, host: str, tld: str) -> str:
        """Return a host as browsers write it."""
        name = self._dot.sub(".", host[: -len(tld)])
        return (name + self._spoken.get(tld, tld)).removeprefix("www.").removeprefix("w.w.w.")

    def _is_link(self, text: str, m: re.Match[str], host: str) -> bool:
        """Tell links from chat: `mid.top` and `8点me` are none, `qcq55.vip` is one. A word as ending is not enough."""
        name = host[: host.rfind(".")]
        if not name or ("," in m["host"] and name.isalpha()):
            return False
        if m["www"] or m["slash"] == "/" or (m["rest"] and host in self._path_hosts):
            return True
        if name.isdigit() and (len(name) < 3 or " " in m["host"]):
            return False
        if m["tld"] not in self._word_tlds:
            return True
        return not name.isalpha() or (len(name) > 3 and _HAN.search(text) is not None)

    def _torn(self, text: str) -> Iterator[Found]:
        for torn in _TORN.finditer(text):
            whole = "".join(torn[0].split())
            m = self._host.search(whole)
            if m and m.end() == len(whole):
                yield Found(torn.start(), torn.end(), "url", self._plain(m["host"], m["tld"]))

    def _addresses(self, text: str) -> Iterator[Found]:
        for m in _IPV4.finditer(text):
            host = m["host"]
            said = m["scheme"] or m["tail"] or self._cue.search(text, max(0, m.start() - REACH), m.start())
            good = said and not _PRIVATE.match(host) and all(int(part) < 256 for part in host.split("."))
            yield Found(m.start(), m.end(), "url", host if good else "")


def _mails(text: str) -> Iterator[Found]:
    """Yield mailboxes: one at qq.com is a QQ number; other mail is no handle, nor is its host."""
    for m in _EMAIL.finditer(text):
        is_qq = m[2] == "qq.com" and _QQ_MAIL.fullmatch(m[1])
        yield Found(m.start(), m.end(), "qq", m[1] if is_qq else "")
