"""Runs one subject: with the Django settings and parameters in the first line of its input.

    python -m benchmarks.subjects NAME

The line is an object of ``settings`` and ``parameters``. The subject answers by lines of JSON.
"""

import json
import sys
from contextlib import redirect_stdout
from importlib import import_module

import django
from django.conf import settings


def main() -> None:
    job = json.loads(sys.stdin.readline())
    settings.configure(**job["settings"])
    django.setup()
    # Imported now: models need a project that is set up.
    subject = import_module(f"benchmarks.subjects.{sys.argv[1]}")
    with redirect_stdout(sys.stderr):
        subject.main(**job["parameters"])


if __name__ == "__main__":
    main()
