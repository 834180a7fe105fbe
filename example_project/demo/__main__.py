"""Run the demo; exit 0 if every published event was handled, and only those."""

from __future__ import annotations

import sys

import django

from .processes import DemoError
from .stage import set_stage


def main() -> int:
    try:
        with set_stage() as stage:
            django.setup()
            from .story import Story  # needs Django's apps

            return 0 if Story(stage).tell() else 1
    except KeyboardInterrupt:
        print("\nInterrupted; everything was stopped.", file=sys.stderr)
        return 130
    except (DemoError, AssertionError) as error:
        print(f"\nThe demo failed: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
