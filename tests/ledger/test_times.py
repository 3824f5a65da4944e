"""Time zones by name."""

import pytest

from app.ledger.times import zone_named


@pytest.mark.parametrize("name", ["UTC", "Europe/Paris", "America/Argentina/Ushuaia", "Etc/GMT+5"])
def test_zones(name: str) -> None:
    """What the IANA database names is a zone."""
    assert zone_named(name).key == name


@pytest.mark.parametrize(
    "name",
    [
        *("localtime", "posixrules", "Factory", "posix/Europe/Paris", "right/UTC", "right/"),
        *("", "Europe", "Mars/Olympus", "../UTC", "/etc/localtime", "é" * 300, "a\0b"),
    ],
)
def test_no_zones(name: str) -> None:
    """What only the machine knows, or nobody, is none."""
    with pytest.raises(ValueError, match="no such time zone"):
        zone_named(name)
