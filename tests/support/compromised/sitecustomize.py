"""A process in which loading a model runs a stranger's code, of `attacks` or of `hostile`.

Python imports this when it starts with this folder on its path; `facts.json` beside it says which
function to call. It stands for whatever gets past the check of a model's file.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

HERE = Path(__file__).parent


FACTS = json.loads((HERE / "facts.json").read_text(encoding="utf-8"))


def load(path: Path, threads: int) -> Any:
    import attacks
    import hostile

    from skin_pipeline.errors import BadInput

    if FACTS.get("hostile"):
        return getattr(hostile, FACTS["hostile"])()
    raise BadInput(json.dumps(attacks.run(FACTS)))


def lose(layer: str) -> None:
    """Makes this kernel one without a layer."""
    from skin_pipeline.sandbox import kernel

    lost: dict[str, Any] = {
        "landlock": ("landlock_version", lambda: 0),
        "filter": ("filter_system_calls", lambda: ""),
        "namespaces": ("leave_namespaces", lambda names: []),
        "capabilities": ("drop_capabilities", lambda kept=(): False),
    }
    setattr(kernel, *lost[layer])


taken_over = ModuleType("skin_pipeline.model_file.loading")
taken_over.__dict__["load"] = load
sys.modules[taken_over.__name__] = taken_over
for lost in FACTS.get("without", ()):
    lose(lost)
