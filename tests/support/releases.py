"""The RabbitMQ releases that the tests are asked to run on, and how to run their programs.

`RABBITMQ_RELEASES` names them, separated by commas: `installed` (the machine's own, the
default), a release such as `4.0`, or a folder that holds a Debian system with
rabbitmq-server in it. A release that is not there fails the tests; it never skips them.
"""

import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.support.processes import dying_with_us, is_root
from tests.support.scratch import scratch_folder

INSTALLED = "installed"
PACKAGED_SCRIPTS = Path("usr/lib/rabbitmq/bin")
PACKAGED_VERSIONS = Path("usr/lib/rabbitmq/lib")
VERSION_FOLDER_PREFIX = "rabbitmq_server-"
BROKER_USER = "rabbitmq"
SCRATCH_PREFIX = "rabbitmq-test-"

# The last program of every chain is started with `exec`, so that the process that was
# started is the broker itself, and ends with the process that started it.
MOUNT_PROC_THEN_RUN = 'mount --bind /proc "$1/proc"; shift; exec "$@"'


class ReleaseNotFound(Exception):
    """A release was asked for that this machine cannot run; the text says what prepares it."""


@dataclass(frozen=True)
class Release:
    """One RabbitMQ release, seen from `root`: `/` for the one installed on the machine."""

    version: str
    root: Path
    scripts: Path

    @property
    def label(self) -> str:
        return ".".join(self.version.split(".")[:2])

    @property
    def is_elsewhere(self) -> bool:
        return self.root != Path("/")

    def scratch_folder(self) -> Path:
        """Make a new folder, readable by the broker, that is visible from inside `root`."""
        return scratch_folder(SCRATCH_PREFIX, self.root / "tmp" if self.is_elsewhere else None)

    def inside(self, path: Path) -> str:
        """Return `path` as the broker's programs see it."""
        return str(Path("/") / path.relative_to(self.root))

    def give_to_broker(self, path: Path) -> None:
        """Make the broker's user own `path`, where it is not us who run the broker."""
        if is_root():
            os.chown(path, *self._user_and_group())

    def command(self, program: str, *arguments: str) -> list[str]:
        """Return the command that runs `program` of this release as the broker's user.

        It never forks on the way, so its process id is that of `program`, which dies with us.
        """
        user_and_group = self._user_and_group() if is_root() else None
        return [*self._entry(), *dying_with_us(user_and_group), program, *arguments]

    def script(self, name: str) -> str:
        return str(self.scripts / name)

    def _entry(self) -> Sequence[str]:
        if not self.is_elsewhere:
            return []
        # Without /proc the broker can watch neither its memory nor its disk. In a mount
        # namespace of its own, the mount is gone as soon as the broker is.
        shell = ["sh", "-c", MOUNT_PROC_THEN_RUN, "sh", str(self.root)]
        return ["unshare", "--mount", "--", *shell, "chroot", str(self.root)]

    def _user_and_group(self) -> tuple[int, int]:
        for line in (self.root / "etc/passwd").read_text().splitlines():
            name, _, user, group, *_ = line.split(":")
            if name == BROKER_USER:
                return int(user), int(group)
        raise ReleaseNotFound(f"{self.root}/etc/passwd has no user {BROKER_USER}")


def requested_releases(environment: Mapping[str, str] = os.environ) -> list[str]:
    """Return the names in `RABBITMQ_RELEASES`, without looking whether they exist."""
    listed = environment.get("RABBITMQ_RELEASES", "").split(",")
    return [name.strip() for name in listed if name.strip()] or [INSTALLED]


def find_release(name: str) -> Release:
    """Return the release that `RABBITMQ_RELEASES` calls `name`, or raise ReleaseNotFound."""
    if name == INSTALLED:
        return installed_release()
    if os.sep in name:
        return release_in_folder(Path(name).expanduser().resolve())
    folder = prepared_folder(name)
    if folder.exists():
        return release_in_folder(folder)
    return installed_release_labelled(name)


def prepared_folder(label: str) -> Path:
    """Return where `scripts/prepare-rabbitmq-release` puts the release `label`."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache / "domain-event-broker" / f"rabbitmq-{label}"


def installed_release() -> Release:
    packaged = Path("/") / PACKAGED_SCRIPTS
    if (packaged / "rabbitmq-server").exists():
        return Release(newest_version(Path("/")), Path("/"), packaged)
    program = shutil.which("rabbitmq-server")
    if program is None:
        raise ReleaseNotFound("rabbitmq-server is not installed; `make setup` installs it")
    scripts = Path(program).resolve().parent
    return Release(version_of(scripts.parent), Path("/"), scripts)


def installed_release_labelled(label: str) -> Release:
    release = installed_release()
    if release.label != label:
        raise ReleaseNotFound(
            f"RabbitMQ {label} is neither installed (that is {release.version}) nor prepared; "
            f"`scripts/prepare-rabbitmq-release {label}` prepares 4.0 or 4.3"
        )
    return release


def release_in_folder(root: Path) -> Release:
    if not is_root():
        raise ReleaseNotFound(f"only root can run the RabbitMQ in {root} (it takes chroot)")
    if not os.path.lexists(root / "usr/sbin/rabbitmq-server"):
        raise ReleaseNotFound(
            f"{root} holds no rabbitmq-server; remove it, then `make prepare-brokers`"
        )
    return Release(newest_version(root), root, Path("/") / PACKAGED_SCRIPTS)


def newest_version(root: Path) -> str:
    folders = sorted((root / PACKAGED_VERSIONS).glob(f"{VERSION_FOLDER_PREFIX}*"))
    return version_of(folders[-1]) if folders else "unknown"


def version_of(folder: Path) -> str:
    """Read the version from a folder such as `rabbitmq_server-3.10.8`."""
    _, prefix, version = folder.name.partition(VERSION_FOLDER_PREFIX)
    return version if prefix else "unknown"
