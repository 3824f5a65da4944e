"""Times in words: zones by their names in the IANA database, moments as we write them."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

_OF_THE_MACHINE = ("localtime", "posixrules", "Factory")
"""Files beside the zones: what the machine happens to be set to, or nothing at all."""

_COPIES = ("posix/", "right/")
"""Folders with the zones once more, without leap seconds and counting them."""


def zone_named(name: str) -> ZoneInfo:
    """The zone of that name. Raises ValueError if the IANA database has none."""
    try:
        if name not in _OF_THE_MACHINE and not name.startswith(_COPIES):
            return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        pass
    raise ValueError("There is no such time zone.")


def written(moment: datetime) -> str:
    """A time in UTC, to the microsecond."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds").removesuffix("+00:00") + "Z"
