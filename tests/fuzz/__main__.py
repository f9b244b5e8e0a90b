"""The command line of the fuzzing bench."""

from __future__ import annotations

import argparse
import concurrent.futures
import sys
import time
from pathlib import Path

from tests.fuzz import bench
from tests.fuzz.classes import CLASSES


def _run(name: str, seed: int, first: int, count: int | None, seconds: float | None) -> bench.Result:
    return bench.run(CLASSES[name](), seed, first=first, count=count, seconds=seconds)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--minutes", type=float, help="for each class (a minute unless --count is given)")
    parser.add_argument("--class", dest="names", action="append", choices=list(CLASSES), help="repeatable; all of them")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=int, default=0, metavar="N", help="the number of the first case")
    parser.add_argument("--count", type=int, metavar="N", help="cases of each class")
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="classes at a time")
    parser.add_argument("--keep", type=Path, default=Path("fuzz-failures"), metavar="DIR", help="where failures go")
    given = parser.parse_args()
    seconds = 60.0 * given.minutes if given.minutes is not None else None if given.count is not None else 60.0
    started, failed = time.monotonic(), 0
    with concurrent.futures.ThreadPoolExecutor(given.jobs) as pool:
        names = given.names or list(CLASSES)
        for done in concurrent.futures.as_completed(
            [pool.submit(_run, name, given.seed, given.first, given.count, seconds) for name in names]
        ):
            result = done.result()
            print(result.line(), flush=True)
            for fault in result.faults:
                print(f"  case {fault.number}: {' '.join(fault.message.split())[:300]}", flush=True)
            bench.keep(result, given.keep)
            failed += len(result.faults)
    if failed:
        print(f"{failed} failed; what repeats them is in {given.keep}", file=sys.stderr)
    print(f"{time.monotonic() - started:,.0f} s, seed {given.seed}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
