"""The documentation says what the code does: names, options, ids and links are compared."""

from __future__ import annotations

import re
import subprocess
import sys
from inspect import getsource

import pytest
from django.core.management import load_command_class

import domain_event_broker
import domain_event_broker.django as app
from domain_event_broker import DomainEventBrokerError, errors, messages
from domain_event_broker.django import checks, validation
from domain_event_broker.settings import KEYS
from domain_event_broker.transports import SCHEMES

from .pages import ROOT, Page, all_pages, reference

PAGES = all_pages()
SAMPLES = [(page, code) for page in PAGES for code in page.code("python")]
COMMANDS = ["run_subscriber", "replay_dead_letters"]
# Those that every command of Django has.
OPTIONS_OF_DJANGO = {
    "--help",
    "--version",
    "--verbosity",
    "--settings",
    "--pythonpath",
    "--traceback",
    "--no-color",
    "--force-color",
    "--skip-checks",
}
SAMPLE_SECONDS = 60


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_relative_links_lead_somewhere(page: Page) -> None:
    for link in page.links:
        if "://" in link:
            continue
        path, _, anchor = link.partition("#")
        target = (page.path.parent / path).resolve() if path else page.path
        assert target.exists(), link
        if anchor:
            assert anchor in Page(str(target.relative_to(ROOT))).anchors, link


def test_every_page_is_linked_from_another() -> None:
    linked = {
        (page.path.parent / link.partition("#")[0]).resolve()
        for page in PAGES
        for link in page.links
        if "://" not in link
    }
    docs = [page for page in PAGES if page.name.startswith("docs/")]
    assert [page.name for page in docs if page.path not in linked] == []


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_files_of_the_project_that_are_named_exist(page: Page) -> None:
    named = re.findall(
        r"`((?:tests|scripts|example_project|domain_event_broker)/[\w./-]*)`", page.prose
    )
    assert [path for path in named if not (ROOT / path).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_make_targets_exist(page: Page) -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))
    # In code only: "make sure" is no target.
    code = [*re.findall(r"`([^`\n]+)`", page.prose), *page.code("sh")]
    named = {name for text in code for name in re.findall(r"(?:^|\s)make ([a-z-]+)", text)}
    assert named <= targets


@pytest.mark.parametrize(("page", "code"), SAMPLES, ids=lambda value: str(value)[:40])
def test_samples_are_python(page: Page, code: str) -> None:
    code = code if not code.startswith(" ") else f"if True:\n{code}"
    compile(code, page.name, "exec")


@pytest.mark.parametrize("code", [c for _, c in SAMPLES if "memory://" in c and "django" not in c])
def test_samples_that_need_no_broker_run(code: str) -> None:
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, timeout=SAMPLE_SECONDS)


def test_each_check_is_documented_and_no_other() -> None:
    in_code = set(re.findall(r"\b([EW]\d{3})\b", getsource(checks) + getsource(validation)))
    assert set(re.findall(r"`([EW]\d{3})`", reference("checks"))) == in_code


def test_each_setting_is_documented_and_no_other() -> None:
    rows = re.findall(r"^\| ((?:`[A-Z_]+`(?:, )?)+) \|", reference("settings"), re.MULTILINE)
    documented = {key for row in rows for key in re.findall(r"`([A-Z_]+)`", row)}
    assert documented == set(KEYS)


def test_each_scheme_is_documented() -> None:
    assert set(re.findall(r"`(\w+)://\w*`", reference("settings"))) == set(SCHEMES)


@pytest.mark.parametrize("name", [*domain_event_broker.__all__, *app.__all__])
def test_each_public_name_is_documented(name: str) -> None:
    assert re.search(rf"`{name}[`(]|\b{name}\(", reference("api"))


@pytest.mark.parametrize("name", COMMANDS)
def test_each_option_is_documented_and_no_other(name: str) -> None:
    parser = load_command_class("domain_event_broker.django", name).create_parser("manage.py", name)
    options = {option for action in parser._actions for option in action.option_strings}
    options = {option for option in options if option.startswith("--")} - OPTIONS_OF_DJANGO
    _, _, section = reference("commands").partition(f"## `{name}`")
    section, _, _ = section.partition("\n## ")
    assert set(re.findall(r"^\| `(--[a-z-]+)", section, re.MULTILINE)) == options


def test_each_error_is_documented() -> None:
    page = reference("errors")
    for kind in _errors():
        pattern = rf"^### {kind.__name__}$|^\| `[\w.]+\.{kind.__name__}` \|"
        assert kind is DomainEventBrokerError or re.search(pattern, page, re.MULTILINE), kind


def test_the_errors_are_drawn_as_in_the_code() -> None:
    (drawing,) = re.findall(
        r"^    DomainEventBrokerError\n(?:    .+\n)+", errors.__doc__ or "", re.MULTILINE
    )
    assert drawing in reference("errors")


def test_each_header_is_documented_and_no_other() -> None:
    named = {value for value in vars(messages).values() if isinstance(value, str)}
    ours = {value for value in named if re.fullmatch(r"deb-[a-z-]*[a-z]", value)}
    documented = set(re.findall(r"^\| `(deb-[a-z-]+)`", reference("wire"), re.MULTILINE))
    assert documented - {"deb-tier", "deb-unreadable-headers"} == ours


def _errors() -> set[type[DomainEventBrokerError]]:
    """Every kind that this package defines, the base included."""
    kinds, found = [DomainEventBrokerError], set()
    while kinds:
        kind = kinds.pop()
        if kind.__module__.startswith("domain_event_broker."):
            found.add(kind)
        kinds += kind.__subclasses__()
    return found
