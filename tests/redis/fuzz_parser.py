"""Fuzzes the parser with atheris, which is no dependency of ours: pip install atheris, then for a minute

python tests/redis/fuzz_parser.py -max_total_time=60 [a folder to keep what it finds]

Whatever the bytes, and however they are cut: nothing but RespError is raised, the commands are the same, and those of
the quick way are those of the close look.
"""

import sys
from itertools import pairwise

import atheris

with atheris.instrument_imports(include=["paxoskv.redis"]):
    from paxoskv.redis.parser import Parser, RespError

Outcome = tuple[list[list[bytes]], str]


def parse(parser: Parser, pieces: list[bytes]) -> Outcome:
    """The commands in the pieces, and what is said of them."""
    found: list[list[bytes]] = []
    for piece in pieces:
        try:
            found += parser.feed(piece)
        except RespError as error:
            return found + error.commands, str(error)
    return found, ""


def one_input(data: bytes) -> None:
    provider = atheris.FuzzedDataProvider(data)
    cuts = sorted(provider.ConsumeIntInRange(0, 300) for _ in range(provider.ConsumeIntInRange(0, 6)))
    stream = provider.ConsumeBytes(1 << 20)
    if b"$1024" in stream:
        return  # The one length at which the two limits differ.
    bounds = [0, *[min(cut, len(stream)) for cut in cuts], len(stream)]
    pieces = [stream[start:end] for start, end in pairwise(bounds)]
    whole = parse(Parser(1024, 100_000), [stream])
    assert parse(Parser(1023, 100_000), [stream]) == whole, "the quick way and the close look differ"
    assert parse(Parser(1024, 100_000), pieces) == whole, "it depends on where the bytes are cut"
    assert all(whole[0]), "an empty command"


if __name__ == "__main__":
    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()
