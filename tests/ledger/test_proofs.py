"""Trees and chains, against the definitions that they are made of."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from itertools import pairwise
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

import app
from app.ledger.proofs import (
    Header,
    Place,
    canonical,
    header_hash,
    leaf_hash,
    microseconds,
    root_of,
    siblings_of,
    skip_of,
    way_back,
)


def rfc_root(leaves: Sequence[bytes]) -> bytes:
    """The Merkle tree hash as RFC 6962, section 2.1, defines it, over leaves that are hashed."""
    if len(leaves) == 1:
        return leaves[0]
    k = 1
    while 2 * k < len(leaves):
        k *= 2
    return sha256(b"\1" + rfc_root(leaves[:k]) + rfc_root(leaves[k:])).digest()


def rfc_path(index: int, leaves: Sequence[bytes]) -> list[bytes]:
    """The audit path of section 2.1.1."""
    if len(leaves) == 1:
        return []
    k = 1
    while 2 * k < len(leaves):
        k *= 2
    if index < k:
        return [*rfc_path(index, leaves[:k]), rfc_root(leaves[k:])]
    return [*rfc_path(index - k, leaves[k:]), rfc_root(leaves[:k])]


def header(number: int, leaves: Sequence[bytes], before: Sequence[str]) -> Header:
    hashes = [b"", *map(header_hash, before)]
    return Header(
        UUID(int=7),
        number,
        0,
        len(leaves),
        0,
        len(leaves),
        Place(12, 3, 1),
        root_of(leaves),
        hashes[number - 1] or None,
        hashes[skip_of(number)] or None,
        1,
    )


@pytest.fixture(scope="module")
def proven() -> Any:
    names: dict[str, Any] = {"__name__": "verifier"}
    source = Path(app.__file__).with_name("verifier.py")
    exec(compile(source.read_text(), str(source), "exec"), names)  # noqa: S102
    return names["proven"]


@pytest.mark.parametrize("size", range(1, 70))
def test_trees_are_those_of_rfc_6962(size: int, proven: Any) -> None:
    """Roots and paths agree with the definition, and every leaf of every tree is proven by them."""
    texts = [f"leaf {n}" for n in range(size)]
    leaves = [leaf_hash(text) for text in texts]
    assert leaves[0] == sha256(b"\0leaf 0").digest()
    assert root_of(leaves) == rfc_root(leaves)
    head = header(1, leaves, []).text()
    for index, text in enumerate(texts):
        siblings = siblings_of(leaves, index)
        assert siblings == rfc_path(index, leaves)
        proof = {
            "leaf": text,
            "leafIndex": index,
            "siblings": [one.hex() for one in siblings],
            "headers": [head],
        }
        checkpoint = header_hash(head).hex()
        assert proven(proof, checkpoint) == text
        for wrong in {index ^ 1, index + 1, index - 1, size} - {index}:
            with pytest.raises(ValueError, match=r"place|lead|many"):
                proven({**proof, "leafIndex": wrong}, checkpoint)


def test_every_block_leads_to_every_checkpoint(proven: Any) -> None:
    """Along headers that name each other, whichever two blocks they are."""
    leaves = [[leaf_hash(f"leaf of {number}")] for number in range(40)]
    headers: list[str] = []
    for number in range(1, 40):
        headers.append(header(number, leaves[number], headers).text())
    for checkpoint in range(1, 40):
        for number in range(1, checkpoint + 1):
            proof = {
                "leaf": f"leaf of {number}",
                "leafIndex": 0,
                "siblings": [],
                "headers": [headers[step - 1] for step in way_back(checkpoint, number)],
            }
            assert proven(proof, header_hash(headers[checkpoint - 1]).hex())


def test_ways_are_short() -> None:
    """In a million blocks no way has more than some two hundred, and each step is a link."""
    assert way_back(12, 12) == [12]
    assert way_back(13, 5) == [5, 6, 7, 8, 12, 13]
    million = 1 << 20
    for number in (1, 2, 3, 99, 12_345, 777_777, million - 1):
        way = way_back(million - 1, number)
        assert (way[0], way[-1]) == (number, million - 1)
        assert all(before in (after - 1, skip_of(after)) for before, after in pairwise(way))
        assert len(way) <= 210


def test_canonical_json_is_in_order_of_length_then_bytes() -> None:
    """As PostgreSQL orders the keys of jsonb."""
    value = {"b": 1, "aa": {"é": None, "z": "ü"}, "a": ['"', "\n", True]}
    text = '{"a": ["\\"", "\\n", true], "b": 1, "aa": {"z": "ü", "é": null}}'
    assert canonical(value) == text


@given(st.datetimes(datetime(1900, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC)))  # noqa: DTZ001
def test_times_are_exact(moment: datetime) -> None:
    """To the microsecond, without a float."""
    assert datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=microseconds(moment)) == moment
