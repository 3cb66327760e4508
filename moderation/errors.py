"""What can go wrong, and who must act.

=================== ======================================= ==================================
error               means                                   who acts
=================== ======================================= ==================================
EventError          a record is no chat event               game server team: see dead letters
RuleSetRejected     rule files have problems (all listed)   moderators; the last good set stays
StoreUnavailable    the ledger cannot be asked              on-call; we judge degraded
SettingsError       the environment is wrong                whoever starts the process (exit 2)
=================== ======================================= ==================================
"""

from __future__ import annotations

from enum import StrEnum
from typing import Literal, NamedTuple


class QingliuError(Exception):
    """The root of all errors raised on purpose."""


class DeadReason(StrEnum):
    """Why a record went to the dead letters. A closed set, since it labels a metric."""

    EMPTY = "empty"
    TOMBSTONE = "tombstone"
    TOO_LARGE = "too_large"
    NOT_UTF8 = "not_utf8"
    NOT_JSON = "not_json"
    TOO_DEEP = "too_deep"
    DUPLICATE_KEY = "duplicate_key"
    SCHEMA = "schema"
    BAD_TEXT = "bad_text"
    BAD_SIGNATURE = "bad_signature"
    KEY_MISSING = "key_missing"
    KEY_MISMATCH = "key_mismatch"
    PROCESSING_ERROR = "processing_error"
    UNKNOWN_ACTION = "unknown_action"
    UNKNOWN_APPEAL = "unknown_appeal"
    ALREADY_APPEALED = "already_appealed"
    ALREADY_ANSWERED = "already_answered"


class EventError(QingliuError):
    """A record cannot be understood: it goes to the dead letters with `reason`, and the stream goes on."""

    def __init__(self, reason: DeadReason, detail: str = "") -> None:
        super().__init__(f"{reason}: {detail}" if detail else str(reason))
        self.reason = reason
        self.detail = detail


class RuleProblem(NamedTuple):
    """One thing wrong in a rule file. `line` and `column` count from 1; 0 means the whole file.

    `code` is stable: E… keeps a rule set from being used, W… does not. `message` is Chinese, `english` may be empty.
    """

    file: str
    line: int
    column: int
    code: str
    message: str
    english: str = ""

    @property
    def severity(self) -> Literal["error", "warning"]:
        """Tell whether it keeps a rule set from being used."""
        return "warning" if self.code.startswith("W") else "error"

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column} {self.code} {self.message}"


class RuleSetRejected(QingliuError):
    """Rule files have problems; `problems` lists every one. Whatever rule set was in force stays in force."""

    def __init__(self, problems: tuple[RuleProblem, ...]) -> None:
        super().__init__("\n".join(map(str, problems)))
        self.problems = problems

    def __reduce__(self) -> tuple[type[RuleSetRejected], tuple[tuple[RuleProblem, ...]]]:
        """Come whole out of another process."""
        return RuleSetRejected, (self.problems,)


class StoreUnavailable(QingliuError):
    """The ledger did not answer in time: history is unknown, judgements are degraded."""


class SettingsError(QingliuError):
    """A setting is missing or makes no sense; the message says which and how to mend it."""
