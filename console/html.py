"""HTML by construction: text is escaped because no text is ever markup. Pages open offline, under a strict CSP."""

from __future__ import annotations

from base64 import b64encode
from hashlib import sha256
from typing import TYPE_CHECKING
from xml.etree.ElementTree import Element, SubElement, tostring

if TYPE_CHECKING:
    from collections.abc import Iterable


def tag(name: str, /, *parts: Element | str | Iterable[Element | str], **attributes: object) -> Element:
    """Return an element. `class_` is class, `stroke_width` is stroke-width; None leaves an attribute out.

    >>> tostring(tag("b", "<i>", class_="x"), "unicode")
    '<b class="x">&lt;i&gt;</b>'
    """
    named = {key.rstrip("_").replace("_", "-"): value for key, value in attributes.items() if value is not None}
    element = Element(name, {key: _number(value) for key, value in named.items()})
    last: Element | None = None
    for part in parts:
        for one in (part,) if isinstance(part, str | Element) else part:
            if isinstance(one, Element):
                element.append(one)
                last = one
            elif last is None:
                element.text = (element.text or "") + one
            else:
                last.tail = (last.tail or "") + one
    return element


def page(title: str, style: str, *body: Element) -> bytes:
    """Return a whole page. Only `style`, which is ours, is allowed by the page's CSP: no script, nothing from afar."""
    allowed = b64encode(sha256(style.encode()).digest()).decode()
    html = tag("html", lang="zh-CN")
    head = SubElement(html, "head")
    csp = f"default-src 'none'; style-src 'sha256-{allowed}'; base-uri 'none'; form-action 'none'"
    head.append(tag("meta", charset="utf-8"))
    head.append(tag("meta", http_equiv="Content-Security-Policy", content=csp))
    head.append(tag("meta", name="viewport", content="width=device-width, initial-scale=1"))
    head.append(tag("title", title))
    head.append(tag("style", style))
    html.append(tag("body", *body))
    return f"<!doctype html>\n{tostring(html, 'unicode', method='html')}".encode()


def _number(value: object) -> str:
    return f"{value:.1f}".removesuffix(".0") if isinstance(value, float) else str(value)
