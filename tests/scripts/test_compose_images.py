"""`make compose-images`: the images are named by what the registry says, or left as they are."""

from __future__ import annotations

import shutil
from pathlib import Path

import compose_images
import pytest

CHECKOUT = Path(__file__).parents[2]
NEW = f"sha256:{'a' * 64}"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A folder with the two files that name images."""
    for name in compose_images.FILES:
        shutil.copy(CHECKOUT / name, tmp_path)
    return tmp_path


def texts(root: Path) -> dict[str, str]:
    return {name: (root / name).read_text() for name in compose_images.FILES}


def test_every_image_that_is_not_built_here_gets_the_digest_of_its_version(root: Path) -> None:
    before, asked = texts(root), []

    def digest_of(name: str) -> str:
        asked.append(name)
        return NEW

    assert compose_images.main(root, digest_of) == 0
    assert sorted(name.partition(":")[0] for name in asked) == [
        "chrislusf/seaweedfs",
        "grafana/grafana",
        "otel/opentelemetry-collector-contrib",
        "postgres",
        "prom/prometheus",
        "python",
        "redis",
    ]
    for name, text in texts(root).items():
        assert text.count("@sha256:") == text.count(NEW) == before[name].count("@sha256:")
        assert len(text.splitlines()) == len(before[name].splitlines())


def test_if_one_is_not_found_nothing_changes(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = texts(root)

    def digest_of(name: str) -> str:
        if name.startswith("redis"):
            raise RuntimeError("no digest of redis: unauthorized")
        return NEW

    assert compose_images.main(root, digest_of) == 1
    assert texts(root) == before
    assert "no digest of redis: unauthorized; nothing was changed" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("program", "said"),
    [
        ("echo 'too many requests' >&2; exit 1", "no digest of redis:8: .*too many requests"),
        ("echo latest", "no digest of redis:8: 'latest'"),
        ("exit 0", "no digest of redis:8: ''"),
        (None, "docker is not installed here"),
    ],
)
def test_what_is_no_digest_is_not_written_down(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, program: str | None, said: str
) -> None:
    if program:
        docker = tmp_path / "docker"
        docker.write_text(f"#!/bin/sh\n{program}\n")
        docker.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(RuntimeError, match=said):
        compose_images.registry_digest("redis:8")
