"""Runs one subject: with the Django settings and parameters in the first line of its input.

    python -m benchmarks.subjects NAME

The line is an object of ``settings``, which are null for subjects without Django, ``parameters``
and ``alone``: whether to hide what else is in this project. The subject answers by lines of JSON.
"""

import json
import sys
from contextlib import redirect_stdout
from importlib import import_module
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).resolve().parents[2]


def main() -> None:
    job = json.loads(sys.stdin.readline())
    if job["alone"]:
        hide_project()
    if job["settings"] is not None:
        set_up_django(job["settings"])
    # Imported now: models need a project that is set up.
    subject = import_module(f"benchmarks.subjects.{sys.argv[1]}")
    with redirect_stdout(sys.stderr):
        subject.main(**job["parameters"])


def hide_project() -> None:
    """Have `domain_event_broker` be the installed one, not ours, which has the same name.

    Subjects are found all the same: their package is imported already.
    """
    sys.path[:] = [folder for folder in sys.path if Path(folder).resolve() != PROJECT]


def set_up_django(project_settings: dict[str, Any]) -> None:
    import django
    from django.conf import settings

    settings.configure(**project_settings)
    django.setup()


if __name__ == "__main__":
    main()
