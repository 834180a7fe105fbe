"""Folders for the data of private servers, removed even if a test run was killed."""

import os
import shutil
import tempfile
from pathlib import Path


def scratch_folder(prefix: str, parent: Path | None = None) -> Path:
    """Make a new folder in `parent`, or else where temporary files go.

    Those that killed test runs left there under this prefix are removed.
    """
    parent = parent or Path(tempfile.gettempdir())
    remove_abandoned_folders(parent, prefix)
    return Path(tempfile.mkdtemp(prefix=f"{prefix}{os.getpid()}-", dir=parent))


def remove_abandoned_folders(parent: Path, prefix: str) -> None:
    """Remove the scratch folders of test runs that were killed, told by their process id."""
    for folder in parent.glob(f"{prefix}*-*"):
        process_id = folder.name.removeprefix(prefix).partition("-")[0]
        if process_id.isdecimal() and not is_alive(int(process_id)):
            shutil.rmtree(folder, ignore_errors=True)


def is_alive(process_id: int) -> bool:
    try:
        os.kill(process_id, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # another user's
        return True
    return True
