"""Has PySyncObj's nodes load themselves, and puts together what they measured, as `paxoskv bench --json` prints it."""

import argparse
import json
import sys
import time
from dataclasses import fields
from multiprocessing.connection import Client, Connection
from typing import Final

from comparison.drivers.pysyncobj_node import Share
from comparison.load import Load
from paxoskv.load.plan import Outcome

_START_S: Final = 0.1


def main() -> None:
    """Read the same options as the other load generators."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--controls", required=True)
    parser.add_argument("--load", required=True, help="A Load as JSON.")
    given = parser.parse_args()
    known = {field.name for field in fields(Load)}
    load = Load(**{name: value for name, value in json.loads(given.load).items() if name in known})
    controls: list[Connection] = [Client(("127.0.0.1", int(port))) for port in given.controls.split(",")]
    parts = len(controls)
    shares = [
        Share(load, load.clients // parts + (part < load.clients % parts), part, parts, 0.0) for part in range(parts)
    ]
    if load.fill:
        for control, share in zip(controls, shares, strict=True):
            control.send(("fill", share))
        for control in controls:
            control.recv()
    start = time.time() + _START_S
    for control, share in zip(controls, shares, strict=True):
        control.send(("load", Share(load, share.clients, share.part, parts, start)))
    time.sleep(_START_S)
    print("measuring", file=sys.stderr, flush=True)
    merged = Outcome()
    lost = 0
    for control in controls:
        try:
            merged.merge(control.recv())
        except (EOFError, ConnectionError):
            lost += 1
    result = merged.to_json()
    if lost:
        result["errors"]["clients that died with their node"] = lost
    print(json.dumps(result))


if __name__ == "__main__":
    main()
