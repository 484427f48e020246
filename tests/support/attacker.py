"""Somebody who can write into the store, and has no key."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from skin_pipeline.contracts import RESULT, Proof
from skin_pipeline.storage import digest


class Attacker:
    """Changes what lies in a folder store; `undo` puts back what was there."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._before: dict[Path, bytes | None] = {}

    def exchange(self, key: str, data: bytes) -> None:
        """Put other bytes under a key. The files of a test's store may be links, so never within
        one."""
        path = self.root / key
        self._before.setdefault(path, path.read_bytes() if path.exists() else None)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        path.write_bytes(data)

    def remove(self, key: str) -> None:
        path = self.root / key
        self._before.setdefault(path, path.read_bytes())
        path.unlink()

    def undo(self) -> None:
        for path, data in self._before.items():
            path.unlink(missing_ok=True)
            if data is not None:
                path.write_bytes(data)
        self._before.clear()

    def read(self, key: str) -> bytes:
        return (self.root / key).read_bytes()

    def document(self, key: str) -> dict[str, Any]:
        document: dict[str, Any] = json.loads(self.read(f"{key}/{RESULT}"))
        return document

    def proof(self, key: str) -> Path:
        (path,) = (self.root / key / "proofs").iterdir()
        return path

    def forge(self, key: str, changes: dict[str, Any], **proof: Any) -> None:
        """Change a document and the files that it names, and write the proof that goes with it.

        Args:
            key: Of the result.
            changes: Of the document; a dot leads into it.
            proof: Changes of the proof.
        """
        said = self.document(key)
        for name, value in changes.items():
            *path, last = name.split(".")
            inside = said
            for part in path:
                inside = inside[part]
            inside[last] = value
        self.exchange(f"{key}/{RESULT}", (json.dumps(said, indent=2) + "\n").encode())
        self.prove(key, **proof)

    def prove(self, key: str, **changes: Any) -> None:
        """Write the proof of what lies there now, in the place of the one that its step wrote."""
        old = self.proof(key)
        proof = Proof.model_validate_json(old.read_bytes())
        found = digest(self.read(f"{key}/{RESULT}"))
        files = {name: digest(self.read(name)) for name in proof.files}
        new = proof.model_copy(update={"result": found, "files": files, **changes})
        self.remove(str(old.relative_to(self.root)))
        self.exchange(
            f"{key}/proofs/of_{found}.json", (new.model_dump_json(indent=2) + "\n").encode()
        )

    def strip(self, key: str) -> None:
        """Remove a result's proof, so that it looks like one of before there were proofs."""
        self.remove(str(self.proof(key).relative_to(self.root)))
