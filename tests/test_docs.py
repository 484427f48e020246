"""What the documentation names exists: pages, headings, files, commands; and its recipes work."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import released

from skin_pipeline import cli
from skin_pipeline.provenance import SigningKeys
from skin_pipeline.release import version_key
from skin_pipeline.storage import Store

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
NAMES = [page.relative_to(ROOT).as_posix() for page in PAGES]
# What refers to the documentation, by a page's path or by a heading in quotes.
SETTING_UP = ("docker-compose.yaml", ".env.example", "Dockerfile", "Makefile")
CODE = ("skin_pipeline", "dags", "plugins", "scripts", "tests")
SOURCES = [
    *(ROOT / name for name in SETTING_UP),
    *(path for folder in CODE for path in sorted((ROOT / folder).rglob("*.py"))),
]
IN_CODE = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
PATH = re.compile(
    r"`((?:skin_pipeline|dags|plugins|scripts|tests|benchmarks|docs)/[\w./-]*|"
    r"[A-Z]+\.md|(?:docker-compose|pyproject|requirements)\.\w+)`"
)


def text_of(page: Path) -> str:
    """The prose of a page, without its blocks of code."""
    return IN_CODE.sub("", page.read_text())


def headings(page: Path) -> list[str]:
    return re.findall(r"^#{1,6} (.+)$", text_of(page), re.MULTILINE)


def anchor(heading: str) -> str:
    """How GitHub makes the address of a heading."""
    plain = re.sub(r"[^\w\- ]", "", heading.lower())
    return plain.replace(" ", "-")


def links(page: Path) -> list[str]:
    found = re.findall(r"\]\(([^)\s]+)\)", text_of(page))
    return [link for link in found if "://" not in link]


@pytest.mark.parametrize("name", NAMES)
def test_every_link_leads_somewhere(name: str) -> None:
    page = ROOT / name
    for link in links(page):
        path, _, part = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        if part:
            assert part in map(anchor, headings(target)), link


def test_every_page_can_be_found_from_the_readme() -> None:
    readme = ROOT / "README.md"
    linked = {(ROOT / link.partition("#")[0]).resolve() for link in links(readme)}
    assert set(PAGES) - {readme} <= linked


@pytest.mark.parametrize("name", NAMES)
def test_every_picture_is_there(name: str) -> None:
    page = ROOT / name
    for picture in re.findall(r"!\[.*?\]\((.*?)\)", page.read_text()):
        assert (page.parent / picture).is_file(), picture


# What a page of before said is not made true by a later change.
@pytest.mark.parametrize("name", [name for name in NAMES if name != "CHANGELOG.md"])
def test_every_file_that_is_named_is_there(name: str) -> None:
    named = PATH.findall(text_of(ROOT / name))
    assert [path for path in named if not (ROOT / path).exists()] == []


@pytest.mark.parametrize("name", NAMES)
def test_every_make_target_exists(name: str) -> None:
    makefile = (ROOT / "Makefile").read_text()
    named = re.findall(
        r"(?:^|`)make (?:[A-Z]+=\S+ )*([a-z][a-z-]+)", (ROOT / name).read_text(), re.M
    )
    for target in set(named):
        assert re.search(rf"^(?:[\w-]+ )*{target}(?: [\w-]+)*:", makefile, re.MULTILINE), target


@pytest.mark.parametrize("name", NAMES)
def test_every_benchmark_exists(name: str) -> None:
    text = (ROOT / name).read_text()
    for bench in re.findall(r"make bench BENCH=(\w+)", text):
        if bench != "NAME":
            assert (ROOT / f"benchmarks/{bench}.py").is_file(), bench


@pytest.mark.parametrize("name", NAMES)
def test_every_command_exists(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main(["--help"])
    known = capsys.readouterr().out
    with pytest.raises(SystemExit):
        cli.main(["models", "--help"])
    of_models = capsys.readouterr().out
    text = (ROOT / name).read_text()
    for command in re.findall(r"python -m skin_pipeline ([a-z]+)", text):
        assert re.search(rf"\b{command}\b", known), command
    for command in re.findall(r"(?:skin_pipeline |`)models ([a-z]+)", text):
        assert re.search(rf"\b{command}\b", of_models), command


def test_every_command_is_described() -> None:
    """The commands of `models`, each on the page about releases."""
    page = (ROOT / "docs/releasing.md").read_text()
    for command in ("list", "show", "verify", "sign", "rollback", "alias", "prune"):
        assert f"skin_pipeline models {command}" in page


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_what_code_and_errors_refer_to_is_there(source: Path) -> None:
    # A reference may be broken over two lines of a comment or of a text.
    text = re.sub(r"\s*\n\s*(?:#|\"|f\")?\s*", " ", source.read_text(errors="replace"))
    for page in re.findall(r"\b(docs/\w+\.md)", text):
        assert (ROOT / page).is_file(), page
    named = r"[\"'“]([A-Z][^\"'”]{2,60})[\"'”] in (?:the )?(README|docs/\w+\.md)"
    for heading, page in re.findall(named, text):
        path = ROOT / ("README.md" if page == "README" else page)
        assert heading in headings(path), heading


# --- what a page says is done --------------------------------------------------------------------


def test_the_settings_tables_are_those_that_the_code_makes(
    capsys: pytest.CaptureFixture[str],
) -> None:
    page = (ROOT / "docs/settings.md").read_text()
    table = page.split("<!-- settings -->\n")[1].split("\n<!-- end of settings -->")[0]
    assert cli.main(["settings"]) == 0
    assert table.strip() == capsys.readouterr().out.strip()


def test_a_version_signed_as_described_is_verified_by_hand_as_described(
    store: Store, tmp_path: Path
) -> None:
    page = (ROOT / "docs/releasing.md").read_text()
    section = page.split("## Signed models\n")[1].split("\n## ")[0]
    make, check = re.findall(r"```sh\n(.*?)```", section, re.DOTALL)
    subprocess.run(["sh", "-euc", make], cwd=tmp_path, check=True, capture_output=True)
    keys = SigningKeys(f"{tmp_path}/signing.pem", f"{tmp_path}/public.pem")
    keys.check()
    made = released.release(store)
    released.opened(store, keys, name=made.model).sign(made.version)
    for key in store.list(version_key(made.model, made.version)):
        shutil.copy(store.local(key), tmp_path)
    python = f"{sys.executable} {check.removeprefix('python')}"
    said = subprocess.run(["sh", "-euc", python], cwd=tmp_path, check=True, capture_output=True)
    assert b"Verification succeeded" in said.stdout


def test_the_hooks_run_what_make_lint_runs() -> None:
    makefile = (ROOT / "Makefile").read_text()
    (recipe,) = re.findall(r"^lint:.*\n((?:\t.*\n)+)", makefile, re.MULTILINE)
    linted = [line.strip().removeprefix("@$(VENV)/bin/") for line in recipe.splitlines()]
    hooks = (ROOT / ".pre-commit-config.yaml").read_text()
    assert re.findall(r"entry: \.venv/bin/(.*)", hooks) == linted


def test_the_hooks_need_no_network(tmp_path: Path) -> None:
    hooks = (ROOT / ".pre-commit-config.yaml").read_text()
    assert re.findall(r"repo: (.*)", hooks) == ["local"]
    assert set(re.findall(r"language: (.*)", hooks)) == {"system"}
    command = [sys.executable, "-m", "pre_commit", "validate-config", ".pre-commit-config.yaml"]
    environment = {**os.environ, "PRE_COMMIT_HOME": str(tmp_path)}
    subprocess.run(command, cwd=ROOT, env=environment, check=True)
