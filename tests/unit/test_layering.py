"""Who may import whom: the core never Django, nobody but the AMQP transport pika."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import domain_event_broker

PACKAGE = Path(domain_event_broker.__file__).parent
DJANGO_APP = PACKAGE / "django"
AMQP_TRANSPORT = PACKAGE / "transports" / "amqp"

# Whatever asks for django fails, as if it were not installed.
WITHOUT_DJANGO = """
import sys

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "django":
            raise ImportError(f"the core must not import {name}")

sys.meta_path.insert(0, Refuse())
try:
    import django
except ImportError:
    pass
else:
    raise SystemExit("django could be imported")
"""
USE_THE_CORE = """
import domain_event_broker as core

seen = []
subscriber = core.Subscriber("memory://x")
subscriber.register(lambda event: seen.append(event.data), "handler", ["#"], max_retries=1)
core.publish_domain_event("a.b", {"n": 1}, connection_settings="memory://x")
subscriber.start_consuming(10, max_events=1)
assert seen == [{"n": 1}], seen
assert core.replay_all("handler", connection_settings="memory://x") == 0
"""


USE_A_DATABASE = """
import domain_event_broker as core
from domain_event_broker.errors import SettingsError

try:
    core.publish_domain_event("a.b", {}, connection_settings="database://")
except SettingsError as error:
    print(error)
"""


def run(program: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=PACKAGE.parent,
    )


def modules(*, below: Path = PACKAGE, without: tuple[Path, ...] = ()) -> Iterator[Path]:
    for path in sorted(below.rglob("*.py")):
        if not any(path.is_relative_to(folder) for folder in without):
            yield path


def imported(path: Path) -> set[str]:
    """The full names of the modules that a file imports, wherever in it."""
    package = path.relative_to(PACKAGE.parent).parent.parts
    names = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            module = ".".join([*base, *([node.module] if node.module else [])])
            names |= {module} | {f"{module}.{alias.name}" for alias in node.names}
    return names


def importing(name: str, paths: Iterator[Path]) -> list[str]:
    return [
        str(path.relative_to(PACKAGE))
        for path in paths
        if any(module == name or module.startswith(f"{name}.") for module in imported(path))
    ]


def test_every_module_of_the_core_can_be_imported_without_django() -> None:
    names = [
        ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__")
        for path in modules(without=(DJANGO_APP,))
    ]
    assert "domain_event_broker.transports.memory" in names
    result = run(WITHOUT_DJANGO + "".join(f"import {name}\n" for name in names))

    assert result.stderr == ""
    assert result.returncode == 0


def test_the_core_publishes_handles_and_replays_without_django() -> None:
    result = run(WITHOUT_DJANGO + USE_THE_CORE)

    assert result.stderr == ""
    assert result.returncode == 0


@pytest.mark.parametrize("before", [WITHOUT_DJANGO, ""], ids=["not installed", "not set up"])
def test_without_a_django_project_the_database_transport_says_what_it_needs(before: str) -> None:
    result = run(before + USE_A_DATABASE)

    assert result.stderr == ""
    assert result.stdout.startswith("The transport of database:// cannot be used here: ")
    assert "database:// needs Django and a project that is set up" in result.stdout


def test_no_module_of_the_core_names_django() -> None:
    core = list(modules(without=(DJANGO_APP,)))

    assert importing("django", iter(core)) == []
    assert importing("domain_event_broker.django", iter(core)) == []


def test_pika_is_imported_by_the_amqp_transport_alone() -> None:
    assert importing("pika", modules(without=(AMQP_TRANSPORT,))) == []
    assert importing("pika", modules(below=AMQP_TRANSPORT)) != []


def test_importing_the_package_imports_no_pika() -> None:
    result = run(
        "import sys, domain_event_broker\n"
        + USE_THE_CORE
        + "assert 'pika' not in sys.modules\n"
        + "assert not any('amqp' in name for name in sys.modules)\n"
    )

    assert result.stderr == ""
    assert result.returncode == 0


def test_importing_the_package_imports_nothing_that_is_seldom_needed() -> None:
    result = run(
        "import sys, domain_event_broker\n"
        "print(*{'django', 'pika', 'socket', 'ssl'} & set(sys.modules))\n"
    )

    assert (result.stdout, result.stderr) == ("\n", "")


@pytest.mark.parametrize(
    ("lower", "higher"),
    [
        ("errors.py", {"names", "settings", "events", "encoding", "handling", "transports"}),
        ("names.py", {"settings", "events", "encoding", "transports"}),
        ("events.py", {"settings", "encoding", "publishing", "handling", "transports"}),
        ("encoding.py", {"publishing", "subscribing", "handling", "transports"}),
        ("messages.py", {"events", "encoding", "publishing", "transports"}),
        ("retrying.py", {"publishing", "subscribing", "handling", "transports"}),
        ("tls.py", {"settings", "publishing", "subscribing", "handling", "transports"}),
        ("settings.py", {"publishing", "subscribing", "handling", "transports"}),
        ("redacting.py", {"publishing", "subscribing", "handling", "stories", "transports"}),
        ("stories.py", {"publishing", "subscribing", "handling", "transports"}),
        ("transports/base.py", {"handling", "publishing", "subscribing", "replaying", "encoding"}),
    ],
)
def test_a_lower_layer_imports_no_higher_one(lower: str, higher: set[str]) -> None:
    names = imported(PACKAGE / lower)

    for module in higher:
        assert not any(name.startswith(f"domain_event_broker.{module}") for name in names), (
            f"{lower} imports {module}"
        )


def test_the_public_names_are_there() -> None:
    for name in domain_event_broker.__all__:
        assert getattr(domain_event_broker, name)
    names_of_3_x = {
        "DISCARD",
        "LEAVE",
        "RETRY",
        "DomainEvent",
        "Publisher",
        "Retry",
        "Subscriber",
        "publish_domain_event",
        "replay_all",
        "replay_event",
    }
    assert names_of_3_x <= set(domain_event_broker.__all__)
