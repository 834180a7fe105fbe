"""Run benchmarks and print what they found as Markdown.

python -m benchmarks                        all of them
python -m benchmarks publish --rounds 5     one
python -m benchmarks --json figures.json    with every round's figures, in a file
python -m benchmarks --plots plots          with plots as SVG, in a folder
python -m benchmarks --quick                a first impression
python -m benchmarks --growth               those that have rows which take minutes, with them
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import FrameType

from tests.compatibility.environments import PeerNotInstalled
from tests.support.postgresql import PostgresqlNotFound
from tests.support.releases import ReleaseNotFound

from .bench import Bench
from .c_clients import ClientNotBuilt
from .plots import can_draw, draw
from .processes import SubjectFailed
from .rounds import say
from .scenarios import GROWING, LONG, QUICK, SCENARIOS
from .sections import Section
from .servers import Servers

DEFAULT_ROUNDS = 3
ROUNDS_HELP = f"{DEFAULT_ROUNDS} unless told; 1 of {', '.join(LONG)}, and if --quick"
NO_BENCHMARK = (
    ClientNotBuilt,
    PeerNotInstalled,
    PostgresqlNotFound,
    ReleaseNotFound,
    SubjectFailed,
)


def main() -> int:
    arguments = parse_arguments()
    signal.signal(signal.SIGTERM, end)
    try:
        with Servers() as servers:
            sections = [*measured(servers, arguments)]
    except NO_BENCHMARK as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        return 1
    if arguments.json:
        found = [section.as_json() for section in sections]
        arguments.json.write_text(f"{json.dumps(found, indent=2)}\n")
    if arguments.plots:
        draw_all(sections, arguments.plots)
    return 0


def measured(servers: Servers, arguments: argparse.Namespace) -> Iterator[Section]:
    """Run the benchmarks; print what each found at once."""
    for name in arguments.scenarios:
        once = arguments.quick or name in LONG
        rounds = arguments.rounds or (1 if once else DEFAULT_ROUNDS)
        bench = Bench(servers, rounds, growth=arguments.growth, quick=arguments.quick)
        say(f"== {name}")
        began_at = time.monotonic()
        for section in SCENARIOS[name](bench):
            print(f"{section.markdown()}\n", flush=True)
            yield section
        say(f"== {name} took {time.monotonic() - began_at:.0f} s")


def draw_all(sections: Iterable[Section], folder: Path) -> None:
    for section in sections:
        if section.plot is not None:
            say(f"plotted {draw(section.plot, section.title, folder)}")


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("scenarios", nargs="*", metavar="NAME", help=f"of {', '.join(SCENARIOS)}")
    parser.add_argument("--rounds", type=whole_number, help=ROUNDS_HELP)
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--plots", type=Path, metavar="FOLDER")
    parser.add_argument("--quick", action="store_true", help="fewer events; of all, the main ones")
    parser.add_argument("--growth", action="store_true", help="with the rows that take minutes")
    arguments = parser.parse_args()
    if arguments.plots and not can_draw():
        parser.error("--plots needs matplotlib: pip install -e '.[bench]' installs it")
    unknown = [name for name in arguments.scenarios if name not in SCENARIOS]
    if unknown:
        parser.error(f"no such benchmark: {', '.join(unknown)}; there are {', '.join(SCENARIOS)}")
    arguments.scenarios = arguments.scenarios or default_scenarios(arguments)
    return arguments


def default_scenarios(arguments: argparse.Namespace) -> Iterable[str]:
    if arguments.growth:
        return GROWING
    return QUICK if arguments.quick else SCENARIOS


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
