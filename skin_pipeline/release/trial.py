"""A model is loaded and asked before it is released: in a process of its own, within bounds.

    ask(Path("model.keras"), {"lesion-7": jpeg}, threads=2)  # {"lesion-7": 0.83}

That process is given nothing of this one's environment but what Python needs, so no credential of
it; it uses no GPU, and its memory and time are bounded. A model that brings it down brings down
nothing else.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from skin_pipeline.data.images import decode
from skin_pipeline.errors import BadInput, Unavailable
from skin_pipeline.job import scratch
from skin_pipeline.release import loading

MIB = 2**20
SECONDS = 900.0  # TensorFlow starts in 10; the machine may be busy
# TensorFlow takes .7 GiB, and the weights are in memory a few times while they are read.
MEMORY_BYTES = 2048 * MIB
MEMORY_A_BYTE = 8  # of the model file
PASSED_ON = ("PATH", "LD_LIBRARY_PATH", "PYTHONPATH", "TMPDIR", "LANG", "LC_ALL")
ROOT = Path(__file__).parents[2]  # where the process finds this package


def agree(
    path: Path,
    images: Mapping[str, bytes],
    recorded: Mapping[str, float],
    *,
    tolerance: float,
    threads: int,
) -> None:
    """Refuse a model that does not say of images what was recorded.

    Args:
        path: The model file.
        images: The bytes of image files, by name.
        recorded: Their probabilities as `evaluate` found them.
        tolerance: The largest difference allowed.
        threads: That TensorFlow may use.

    Raises:
        BadInput: names the image on which they differ most; or as `ask`.
        Unavailable: as `ask`.
    """
    found = ask(path, images, threads=threads)
    apart = {name: abs(found[name] - recorded[name]) for name in images}
    worst = max(apart, key=lambda name: np.nan_to_num(apart[name], nan=np.inf))
    if not apart[worst] <= tolerance:
        raise BadInput(
            f"the model {path} gives {worst} a probability of {found[worst]:.4f} where evaluate "
            f"recorded {recorded[worst]:.4f}; at most {tolerance} of difference is allowed. It is "
            "not released; look at the log of evaluate, and run it again"
        )


def ask(
    path: Path, images: Mapping[str, bytes], *, threads: int, seconds: float = SECONDS
) -> dict[str, float]:
    """Load a model file in a fresh process, and score images with it.

    Args:
        path: The model file.
        images: The bytes of image files, by name.
        threads: That TensorFlow may use.
        seconds: That the process may take.

    Raises:
        BadInput: the model was refused, asked for too much memory, or brought the process down.
        Unavailable: it took too long.
    """
    with scratch() as folder:
        files = [folder / str(number) for number in range(len(images))]
        for file, data in zip(files, images.values(), strict=True):
            file.write_bytes(data)
        answer = _answer(path.absolute(), folder, [threads, *files], seconds)
    if "refused" in answer:
        raise BadInput(answer["refused"])
    return dict(zip(images, answer["probabilities"], strict=True))


def _answer(path: Path, folder: Path, arguments: Iterable[object], seconds: float) -> Any:
    """What the process that tries the model has to say."""
    command = [sys.executable, "-m", __name__, str(path), *map(str, arguments)]
    try:
        ended = subprocess.run(
            command,
            cwd=folder,
            env=_environment(folder),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=seconds,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise Unavailable(f"the model {path} gave no answer within {seconds:g} s") from None
    if ended.returncode:
        raise BadInput(
            f"the model {path} brought down the process that tried it "
            f"({_ending(ended.returncode)}; {_memory(path) / MIB:.0f} MiB of memory were allowed): "
            f"{(ended.stderr.strip() or 'it said nothing').splitlines()[-1][:500]}"
        )
    return json.loads(ended.stdout.splitlines()[-1])


def _environment(folder: Path) -> dict[str, str]:
    """All that the process gets to know; its home is a folder that goes with it."""
    passed = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
    paths = [str(ROOT), *filter(None, [passed.get("PYTHONPATH")])]
    return {
        **passed,
        "PYTHONPATH": os.pathsep.join(paths),
        "HOME": str(folder),
        "CUDA_VISIBLE_DEVICES": "-1",
    }


def _ending(status: int) -> str:
    return f"exit status {status}" if status > 0 else signal.Signals(-status).name


def _memory(path: Path) -> int:
    """Bytes of memory that a model may take, its process included."""
    return MEMORY_BYTES + MEMORY_A_BYTE * path.stat().st_size


def probabilities(model: Any, images: Iterable[bytes]) -> list[float]:
    """What a loaded model says of images, given the bytes of their files, one by one."""
    pixels = (np.asarray(decode(data).image)[None] for data in images)
    return [float(model(batch)[0, 0]) for batch in pixels]


def _try(path: Path, threads: int, images: list[Path]) -> dict[str, Any]:
    try:
        model = loading.load(path, threads)
    except BadInput as error:
        return {"refused": f"{error} ({_memory(path) / MIB:.0f} MiB of memory were allowed)"}
    return {"probabilities": probabilities(model, (image.read_bytes() for image in images))}


def main(model: str, threads: str, *images: str) -> None:
    """Try a model in this process, which is given up to it."""
    path = Path(model)
    resource.setrlimit(resource.RLIMIT_DATA, (_memory(path),) * 2)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    print(json.dumps(_try(path, int(threads), list(map(Path, images)))))


if __name__ == "__main__":
    main(*sys.argv[1:])
