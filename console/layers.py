"""Which rule directories are read: the ones asked for, and the shipped ones below them where they are no whole."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from moderation.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Sequence

#: What makes a directory a whole set of rules: without it there are no thresholds and no ladders.
WHOLE: Final = "policy.yaml"
_NAME: Final = Path("rules")


def directories(chosen: Sequence[Path]) -> tuple[Path, ...]:
    """Return `chosen`, on the shipped rules if the first of them has no policy.yaml.

    The default, `rules`, stands for the shipped ones wherever the command runs. Raises SettingsError where these are
    needed and not there.
    """
    if (chosen[0] / WHOLE).is_file():
        return tuple(chosen)
    return (shipped(), *(one for one in chosen if one != _NAME or one.is_dir()))


def shipped() -> Path:
    """Return the rules in the working directory, else those of the checkout we run from. Raises SettingsError."""
    places = (_NAME, Path(__file__).parent.parent / _NAME)
    found = next((place for place in places if (place / WHOLE).is_file()), None)
    if found is None:
        raise SettingsError(f"no rules: {' and '.join(map(str, places))} have no {WHOLE}; name a directory by --rules")
    return found
