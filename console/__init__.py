"""How people operate Qingliu: the command line, the demo, and what both show."""

from __future__ import annotations

from moderation.errors import QingliuError


class Unreachable(QingliuError):
    """What was needed did not answer; the message says what, and where it was looked for."""
