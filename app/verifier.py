"""Checks proofs of Ledgers without Ledgers: python verify.py HASH < proofs.json

HASH is that of a checkpoint that you kept, proofs.json a list of proofs against it, each with leaf,
leafIndex, siblings and headers. Prints the leaves that are proven, or ends with 1.
"""

import json
import sys
from hashlib import sha256
from typing import Any


def digest(prefix: bytes, *parts: bytes) -> str:
    return sha256(prefix + b"".join(parts)).hexdigest()


def unhex(text: str) -> bytes:
    if bytes.fromhex(text).hex() != text:
        raise ValueError("a hash is in small letters")
    return bytes.fromhex(text)


def proven(proof: dict[str, Any], checkpoint: str) -> str:
    place, last = proof["leafIndex"], json.loads(proof["headers"][0])["leaves"] - 1
    if type(place) is not int or not 0 <= place <= last:
        raise ValueError("the leaf has no place in its block")
    node, links = digest(b"\0", proof["leaf"].encode()), ["root"]
    for sibling in map(unhex, proof["siblings"]):
        if last == 0:
            raise ValueError("there are too many siblings")
        while place == last and place % 2 == 0 < place:  # nothing is beside it: it goes up
            place, last = place // 2, last // 2
        pair = (sibling, unhex(node)) if place % 2 else (unhex(node), sibling)
        node, place, last = digest(b"\1", *pair), place // 2, last // 2
    for header in proof["headers"]:
        if last or node not in [json.loads(header)[link] for link in links]:
            raise ValueError(f"it does not lead to the {' or '.join(links)} hash")
        node, links = digest(b"\2", header.encode()), ["previous", "skip"]
    if node != checkpoint:
        raise ValueError("it does not lead to the checkpoint")
    return str(proof["leaf"])


if __name__ == "__main__":
    try:
        leaves = [proven(proof, sys.argv[1]) for proof in json.load(sys.stdin)]
        print("\n".join(leaves) if leaves else sys.exit("NOT PROVEN: there is no proof"))
    except (AttributeError, LookupError, TypeError, ValueError) as fault:
        sys.exit(f"NOT PROVEN: {fault}")
