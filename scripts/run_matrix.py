#!/usr/bin/env python3
"""Run the tests that need no server on every pair of Python and Django that this machine can run.

Each pair has its own environment under .matrix/. PAIRS, such as "3.12-6.1 3.13-6.0",
names the pairs to run; without it, every pair whose interpreter is installed is run and
the others are named.
"""

import argparse
import os
import shutil
import subprocess
import sys
from pathlib import Path

DJANGOS_OF_PYTHON = {
    "3.11": ["5.2"],
    "3.12": ["5.2", "6.0", "6.1"],
    "3.13": ["5.2", "6.0", "6.1"],
    "3.14": ["5.2", "6.0", "6.1"],
}
PAIRS = [
    f"{python}-{django}" for python, djangos in DJANGOS_OF_PYTHON.items() for django in djangos
]
PROJECT = Path(__file__).resolve().parent.parent
VERSION = "import sys; print('%d.%d' % sys.version_info[:2])"


def main() -> int:
    arguments = parse_arguments()
    interpreters = {version: find_interpreter(version) for version in DJANGOS_OF_PYTHON}
    installed = [pair for pair in PAIRS if interpreters[python_of(pair)]]
    if arguments.list:
        print("\n".join(installed))
        return 0
    pairs = arguments.pairs or installed
    results = {pair: run_pair(pair, interpreters[python_of(pair)]) for pair in pairs}
    if not arguments.pairs:
        results |= {pair: "not run: no such Python here" for pair in PAIRS if pair not in installed}
    print_table(results)
    passed = [pair for pair in pairs if results[pair] == "passed"]
    return 0 if pairs and passed == pairs else 1


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--list", action="store_true", help="name the pairs that can be run")
    parser.add_argument("pairs", nargs="*", metavar="PAIR", default=asked_for_pairs())
    arguments = parser.parse_args()
    unknown = [pair for pair in arguments.pairs if pair not in PAIRS]
    if unknown:
        parser.error(f"no such pair: {', '.join(unknown)}; there are {', '.join(PAIRS)}")
    return arguments


def asked_for_pairs() -> list[str]:
    return os.environ.get("PAIRS", "").replace(",", " ").split()


def python_of(pair: str) -> str:
    return pair.partition("-")[0]


def find_interpreter(version: str) -> str | None:
    """Return a Python of this version that really runs: a name on PATH may be pyenv's shim."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    candidates = [shutil.which(f"python{version}")]
    candidates += map(str, sorted(pyenv.glob(f"versions/{version}*/bin/python{version}")))
    return next((each for each in candidates if each and runs(each, version)), None)


def runs(interpreter: str, version: str) -> bool:
    result = subprocess.run([interpreter, "-c", VERSION], capture_output=True, text=True)
    return result.returncode == 0 and result.stdout.strip() == version


def run_pair(pair: str, interpreter: str | None) -> str:
    if interpreter is None:
        return f"failed: no Python {python_of(pair)} here"
    print(f"== {pair}: Python and Django in .matrix/{pair}", flush=True)
    try:
        python = make_environment(pair, interpreter)
        chosen = ["-m", "not broker and not postgresql and not fault"]
        command = [python, "-m", "pytest", "-q", *chosen, "-p", "no:cacheprovider"]
        subprocess.run(command, cwd=PROJECT, check=True)
    except subprocess.CalledProcessError as error:
        return f"failed: {' '.join(error.cmd[1:4])} exited with {error.returncode}"
    return "passed"


def make_environment(pair: str, interpreter: str) -> str:
    folder = PROJECT / ".matrix" / pair
    python = str(folder / "bin" / "python")
    if not Path(python).exists():
        subprocess.run([interpreter, "-m", "venv", "--clear", str(folder)], check=True)
    install = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    django = f"Django~={pair.partition('-')[2]}.0"
    subprocess.run([*install, "--editable", ".[test]", django], cwd=PROJECT, check=True)
    return python


def print_table(results: dict[str, str]) -> None:
    print("\nPython-Django")
    for pair in (each for each in PAIRS if each in results):
        print(f"  {pair}  {results[pair]}")


if __name__ == "__main__":
    sys.exit(main())
