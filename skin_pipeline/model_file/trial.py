"""Tries a model before it is released: loads it and scores images, in a confined process.

    ask(Path("model.keras"), {"lesion-7": jpeg}, threads=2)  # {"lesion-7": 0.83}

That process is confined (see `sandbox`) before it reads the file: it knows no credential, reads a
copy of the model and the images and no other data, and reaches no network and no other process; it
uses no GPU, and its memory and time are bounded. What it answers is checked, since a model that
takes the process over can make it answer anything. A model that crashes the process crashes nothing
else.
"""

from __future__ import annotations

import json
import resource
import shutil
import signal
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from skin_pipeline.data import images as reading
from skin_pipeline.errors import BadInput, Unavailable
from skin_pipeline.foreign import line, shown
from skin_pipeline.model_file import loading, looking, running
from skin_pipeline.sandbox import Cell, Overflow, run_confined
from skin_pipeline.storage import scratch

MIB = 2**20
SECONDS = 900.0  # TensorFlow starts in 10; the machine may be busy
# TensorFlow takes 0.7 GiB, and the weights are in memory a few times while they are read.
MEMORY_BYTES = 2048 * MIB
MEMORY_A_BYTE = 8  # bytes of memory for each byte of the model file
WRITTEN_BYTES = 64 * MIB  # beside two copies of the model
WORDS = 2000  # characters of a refusal


def agree(
    path: Path,
    images: Mapping[str, bytes],
    recorded: Mapping[str, float],
    *,
    tolerance: float,
    threads: int,
) -> None:
    """Raises an error for a model that does not give images the probabilities that were recorded.

    Args:
        path: The model file.
        images: The bytes of image files, by name.
        recorded: Their probabilities as `evaluate` found them.
        tolerance: The largest difference allowed.
        threads: How many threads TensorFlow may use.

    Raises:
        BadInput: They differ too much; the message names the image on which they differ most.
            Or as `ask` raises it.
        Unavailable: As `ask` raises it.
    """
    found = ask(path, images, threads=threads)
    apart = {name: abs(found[name] - recorded[name]) for name in images}
    worst = max(apart, key=lambda name: np.nan_to_num(apart[name], nan=np.inf))
    if not apart[worst] <= tolerance:  # NaN is never within it
        raise BadInput(
            f"the model {path} gives {worst} a probability of {found[worst]:.4f} where evaluate "
            f"recorded {recorded[worst]:.4f}; at most {tolerance} of difference is allowed. It is "
            "not released; look at the log of evaluate, and run it again"
        )


def ask(
    path: Path, images: Mapping[str, bytes], *, threads: int, seconds: float = SECONDS
) -> dict[str, float]:
    """Loads a model file in a new process, and returns the probabilities that it gives to images.

    Args:
        path: The model file.
        images: The bytes of image files, by name.
        threads: How many threads TensorFlow may use.
        seconds: The most time that the process may take.

    Raises:
        BadInput: The model was refused, took too much memory, or brought the process down.
        Unavailable: It took too long.
    """
    with scratch() as folder:
        # A copy, since the confined process can read nothing outside its folder.
        copy = folder / f"model{path.suffix}"
        with suppress(FileNotFoundError):  # the process reports it
            shutil.copyfile(path, copy)
        for number, data in enumerate(images.values()):
            (folder / str(number)).write_bytes(data)
        cell = _cell(folder, path, seconds)
        answer = _answer(path, cell, [str(path), copy.name, str(threads), str(len(images))])
    return dict(zip(images, _understood(answer, path, len(images)), strict=True))


def _cell(folder: Path, path: Path, seconds: float) -> Cell:
    """Returns what the process that tries a model may do; its folder is removed afterwards."""
    size = path.stat().st_size if path.is_file() else 0
    return Cell(
        folder=str(folder),
        readable=(),
        memory=MEMORY_BYTES + MEMORY_A_BYTE * size,
        file_bytes=WRITTEN_BYTES + 2 * size,
        seconds=seconds,
    )


def _answer(path: Path, cell: Cell, arguments: Iterable[str]) -> bytes:
    """Returns the answer of the process that tries the model."""
    try:
        ended = run_confined(cell, __name__, arguments, {"CUDA_VISIBLE_DEVICES": "-1"})
    except TimeoutError:
        raise Unavailable(f"the model {path} gave no answer within {cell.seconds:g} s") from None
    except Overflow as error:
        raise BadInput(f"the model {path} was stopped while it was tried: {error}") from None
    if ended.status:
        raise BadInput(
            f"the model {path} brought down the process that tried it "
            f"({_ending(ended.status)}; {cell.memory / MIB:.0f} MiB of memory were allowed): "
            f"{shown((ended.said or 'it said nothing').splitlines()[-1])}"
        )
    return ended.answer


def _understood(answer: bytes, path: Path, number: int) -> list[float]:
    """Returns the probabilities of an answer, which a stranger's code may have written.

    Raises:
        BadInput: The model was refused, or the answer is not exactly so many probabilities.
    """
    try:
        said = json.loads(answer)
    except (ValueError, RecursionError):
        said = None
    match said:
        case {"refused": str(why), **rest} if not rest:
            raise BadInput(line(why, WORDS))
        case {"probabilities": list(found), **rest} if not rest and len(found) == number:
            if all(type(value) is float and 0 <= value <= 1 for value in found):
                return found
    raise BadInput(
        f"the model {path} did not answer with {number} probabilities from 0 to 1, one for each "
        f"image. Received: {shown(answer.decode(errors='replace'))}"
    )


def _ending(status: int) -> str:
    return f"exit status {status}" if status > 0 else signal.Signals(-status).name


def probabilities(model: Any, images: Iterable[bytes]) -> list[float]:
    """Returns the probabilities that a loaded model gives to images, which are files' bytes.

    What follows the squares of an image is one graph, as where TensorFlow scores: layer by layer an
    image takes five times as long, and all that is between stays in memory. What cuts the squares
    is not: in a graph Keras does not round what an earlier model scales (see `looking.squares`).
    """
    import keras

    cut = keras.Model(model.input, looking.seen(model))
    # TensorFlow has its threads since the model was loaded.
    score = running.of(model, threads=1, engine="tensorflow").forward
    pixels = (np.asarray(reading.decode(data).image)[None] for data in images)
    return [float(score(cut(image, training=False))[0, 0]) for image in pixels]


def _try(copy: Path, threads: int, images: list[Path]) -> dict[str, Any]:
    try:
        model = loading.load(copy, threads)
    except BadInput as error:
        memory = resource.getrlimit(resource.RLIMIT_DATA)[0]
        return {"refused": f"{error} ({memory / MIB:.0f} MiB of memory were allowed)"}
    return {"probabilities": probabilities(model, (image.read_bytes() for image in images))}


def main(path: str, copy: str, threads: str, images: str) -> str:
    """Tries a model in this process, which the model may take over; returns the answer.

    Args:
        path: What the caller calls the model.
        copy: Name of its copy in this folder.
        threads: How many threads TensorFlow may use.
        images: How many images there are in this folder, named by their numbers.
    """
    said = _try(Path(copy), int(threads), [Path(str(number)) for number in range(int(images))])
    if "refused" in said:
        # The name of the copy would mean nothing to the reader of the message.
        for word in ("model", "file"):
            said["refused"] = said["refused"].replace(f"{word} {copy}", f"{word} {path}")
    return json.dumps(said)
