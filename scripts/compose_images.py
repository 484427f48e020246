"""Pins the images of docker-compose.yaml and the Dockerfile by digest: `make compose-images`.

Each image is named by a version and by a digest, so that it cannot be exchanged. For another
version, change the version and run this: it gets the digest from the registry, through `docker
buildx`. It needs only Python and Docker.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parent.parent
FILES = ("docker-compose.yaml", "Dockerfile")
PINNED = re.compile(
    r"(?P<lead>^\s*(?:image: |ARG PYTHON_IMAGE=))"
    r"(?P<name>[\w./-]+:[\w.-]+)@(?P<digest>sha256:[0-9a-f]{64})$",
    re.MULTILINE,
)
DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
INSPECT = ("docker", "buildx", "imagetools", "inspect", "--format", "{{.Manifest.Digest}}")


def registry_digest(name: str) -> str:
    """Returns the digest that an image has in the registry now, for all platforms.

    Raises:
        RuntimeError: Docker is missing, or it did not answer with a digest.
    """
    try:
        done = subprocess.run([*INSPECT, name], capture_output=True, text=True, check=False)
    except FileNotFoundError as error:
        raise RuntimeError("docker is not installed here") from error
    digest = done.stdout.strip()
    if done.returncode or not DIGEST.fullmatch(digest):
        raise RuntimeError(f"no digest of {name}: {done.stderr.strip() or digest!r}")
    return digest


def pin(text: str, digest_of: Callable[[str], str]) -> str:
    """Returns `text` with the digest of each image replaced by what `digest_of` returns."""
    return PINNED.sub(
        lambda found: f"{found['lead']}{found['name']}@{digest_of(found['name'])}", text
    )


def main(root: Path = CHECKOUT, digest_of: Callable[[str], str] = registry_digest) -> int:
    """Pins all images, or none if one is not found. Returns the exit status."""
    try:
        new = {name: pin((root / name).read_text(), digest_of) for name in FILES}
    except RuntimeError as error:
        print(f"{error}; nothing was changed", file=sys.stderr)
        return 1
    for name, text in new.items():
        state = "unchanged" if (root / name).read_text() == text else "written"
        (root / name).write_text(text)
        print(f"{name}: {state}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
