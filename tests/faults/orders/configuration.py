"""The settings of the test project, which are not those of the project that is checked."""

from __future__ import annotations

from typing import Any

from django.conf import settings

project: Any = settings
