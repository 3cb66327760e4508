"""What the ledger remembers of a player, as values: the question (`Strike`) and the answer (`Standing`)."""

from __future__ import annotations

from typing import Final

from msgspec import Struct

#: Strikes older than this no longer count.
DECAY_MS: Final = 30 * 86_400_000
#: Strikes this close to the last counted one belong to the same incident: a burst of five lines is one offence, since
#: the mute it earned needs a moment to take effect. The second message of a burst does not climb the ladder.
GRACE_MS: Final = 60_000


class Strike(Struct, frozen=True):
    """One offence to be counted. `event_id` makes it idempotent; times are milliseconds since 1970.

    `ts` is when it was said (it decides decay and grace), `now` when it was judged.
    """

    account_id: str
    ladder: str
    event_id: str
    ts: int
    now: int
    label: str


class Standing(Struct, frozen=True):
    """Where a strike put its player: `step` of the ladder from 1, and `at`, when that event was first judged.

    `merged` says the strike fell into the grace time of the one before and did not climb: `step` is that one's.
    The same event always gets the same standing, however often and by whomever it is asked: also the same `label` and
    `ladder`, even if a worker that saw less or more of what others said finds another label the second time.
    """

    step: int
    at: int
    merged: bool
    label: str
    ladder: str
