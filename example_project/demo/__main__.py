"""Run the demo; exit 0 if every published event was handled, and only those.

python -m example_project.demo              # the shop's own database carries the events
python -m example_project.demo --rabbitmq   # a RabbitMQ node does, started for the demo alone
BROKER=amqp://... python -m example_project.demo
"""

from __future__ import annotations

import sys
from argparse import ArgumentParser

import django

from .processes import DemoError
from .stage import BROKER_VARIABLE, set_stage


def main() -> int:
    parser = ArgumentParser(prog="python -m example_project.demo", description="A day in the shop.")
    parser.add_argument(
        "--rabbitmq",
        action="store_true",
        help=f"on a RabbitMQ node of its own, whatever {BROKER_VARIABLE} says",
    )
    try:
        with set_stage(on_rabbitmq=parser.parse_args().rabbitmq) as stage:
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
