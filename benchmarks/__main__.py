"""Run benchmarks and print what they found as Markdown.

python -m benchmarks                        all of them
python -m benchmarks publish --rounds 5     one
python -m benchmarks --json figures.json    with every round's figures, in a file
python -m benchmarks relay --growth         the relay from a million rows, too
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import FrameType

from tests.compatibility.environments import PeerNotInstalled
from tests.support.postgresql import PostgresqlNotFound
from tests.support.releases import ReleaseNotFound

from .bench import Bench
from .processes import SubjectFailed
from .rounds import say
from .scenarios import SCENARIOS
from .sections import Section
from .servers import Servers

DEFAULT_ROUNDS = 3


def main() -> int:
    arguments = parse_arguments()
    signal.signal(signal.SIGTERM, end)
    try:
        with Servers() as servers:
            bench = Bench(servers, arguments.rounds, growth=arguments.growth)
            sections = [*measured(bench, arguments.scenarios or SCENARIOS)]
    except (PeerNotInstalled, PostgresqlNotFound, ReleaseNotFound, SubjectFailed) as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        return 1
    if arguments.json:
        found = [section.as_json() for section in sections]
        arguments.json.write_text(f"{json.dumps(found, indent=2)}\n")
    return 0


def measured(bench: Bench, names: Iterable[str]) -> Iterator[Section]:
    """Run the benchmarks; print what each found at once."""
    for name in names:
        say(f"== {name}")
        for section in SCENARIOS[name](bench):
            print(f"{section.markdown()}\n", flush=True)
            yield section


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("scenarios", nargs="*", metavar="NAME", help=f"of {', '.join(SCENARIOS)}")
    parser.add_argument("--rounds", type=whole_number, default=DEFAULT_ROUNDS)
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--growth", action="store_true", help="the relay from a million rows, too")
    arguments = parser.parse_args()
    unknown = [name for name in arguments.scenarios if name not in SCENARIOS]
    if unknown:
        parser.error(f"no such benchmark: {', '.join(unknown)}; there are {', '.join(SCENARIOS)}")
    return arguments


def whole_number(text: str) -> int:
    value = int(text) if text.isdecimal() else 0
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1")
    return value


def end(number: int, frame: FrameType | None) -> None:
    """End as Ctrl-C does, through every clean-up."""
    raise SystemExit(128 + number)


if __name__ == "__main__":
    sys.exit(main())
