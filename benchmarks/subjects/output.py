"""What a subject tells its harness: lines of JSON on the standard output, and nothing else."""

import json
import sys
from typing import Any


def tell(**values: Any) -> None:
    # Not sys.stdout: what commands print there is sent where errors go.
    print(json.dumps(values), file=sys.__stdout__, flush=True)
