"""Loads model files from strangers: our own code builds the network, only the weights are theirs.

    model = load(Path("model.keras"), threads=2)

A `.keras` file says which classes to build with which arguments, so whoever wrote it chooses what
runs; that is never followed. The file is copied to where no other process can reach it, and from
then on only the copy is read. What it says of its network is read as data: which of our networks,
of how many runs, of which size. `building` builds that network. Its configuration must be
exactly that of the file, and the file must have exactly the weights that it needs.
"""

from __future__ import annotations

import errno
import hashlib
import json
import logging
import re
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from skin_pipeline.errors import BadInput, Unavailable
from skin_pipeline.foreign import shown
from skin_pipeline.model_file import blueprint, memory, weights
from skin_pipeline.model_file.building import Recipe, fewest_parameters, rebuilt
from skin_pipeline.model_file.weights import FLOAT, Weights
from skin_pipeline.training import backbone, configuration, container, pixels, runtime

log = logging.getLogger(__name__)

Foreign = container.Foreign
CONFIG, METADATA, WEIGHTS = container.CONFIG, container.METADATA, container.WEIGHTS

SUFFIX = ".keras"
MIB, GIB = 2**20, 2**30
MOST_BYTES = 4 * GIB  # twenty runs of `full` take some 2 GiB
# Of the members that are text: 20 runs of ResNet50 take 5 MiB; of the deepest networks, so many as
# fit into `MOST_BYTES` take up to 16 MiB.
TEXT_BYTES = {CONFIG: 16 * MIB, METADATA: 4096}
CHUNK = MIB
MAGIC = {b"\x89HDF": "an HDF5 file (.h5)", b"\x80": "a pickle"}
WAY_OUT = "Give a model.keras that this pipeline wrote"
ABOUT = {"keras_version", "date_saved"}
VERSION = re.compile(r"[0-9A-Za-z.+-]{1,40}")
# What the process may take in addition while it loads a model: some for TensorFlow itself, and more
# for the weights, which are in memory a few times.
MEMORY_BYTES = 2 * GIB
MEMORY_A_BYTE = 8  # bytes of memory for each byte of the file
# Errors that the user can mend; others are those of the disk.
NOT_ALLOWED = {errno.EACCES, errno.EPERM, errno.EISDIR, errno.ELOOP, errno.ENOENT}


class _Checked(NamedTuple):
    """What is in a model file that passed all checks that need no network."""

    keras_version: str
    config: Any
    recipe: Recipe
    weights: Weights
    size: int


def load(path: Path, threads: int, expected: str = "") -> Any:
    """Returns a model that scores images, from a file that anybody may have written.

    Args:
        path: A `.keras` file.
        threads: How many threads TensorFlow may use.
        expected: The SHA-256 that the file must have; empty for any.

    Returns:
        The Keras model: RGB uint8 (n, h, w, 3) in, probabilities (n, 1) out.

    Raises:
        BadInput: It is no model of ours; the message says what was found. None of its code ran.
        Unavailable: The disk fails.
    """
    # Keras is imported after the checks that need no network: it takes seconds, and a file that is
    # refused does not need it.
    with _checked(path, expected) as found:
        keras = runtime.keras_on(threads)
        with memory.at_most(MEMORY_BYTES + MEMORY_A_BYTE * found.size):
            return _built(keras, found)


def check(path: Path, expected: str = "") -> None:
    """Raises an error for a file that is not a model of ours, without Keras.

    Checks everything except whether network and weights are exactly ours, which `load` does.

    Raises:
        BadInput: It is not; the message says what was found instead.
        Unavailable: The disk fails.
    """
    with _checked(path, expected):
        pass


@contextmanager
def _checked(path: Path, expected: str) -> Generator[_Checked, None, None]:
    """Yields what is in a model file, from a private copy that is checked and then used.

    The file itself could be exchanged or overwritten after the check. A fault that is found here,
    or in the block that uses the copy, becomes a `BadInput` that names the file.
    """
    _refuse_other_names(path)
    with tempfile.TemporaryFile() as copy:  # it has no name, so no other process can open it
        _copy(path, copy, expected)
        try:
            yield _inspected(copy)
        except Foreign as error:
            raise _refusal(path, str(error)) from None
        except MemoryError:
            raise _refusal(path, "takes more memory than a model of its size needs") from None


def _refuse_other_names(path: Path) -> None:
    if not path.is_file():  # a pipe would block for ever
        raise BadInput(f"there is no model file {path}. {WAY_OUT}")


def _copy(path: Path, copy: BinaryIO, expected: str) -> None:
    seen = hashlib.sha256()
    try:
        with path.open("rb") as source:
            for block in iter(partial(source.read, CHUNK), b""):
                seen.update(block)
                if copy.tell() + copy.write(block) > MOST_BYTES:
                    raise _refusal(path, f"has over {MOST_BYTES} bytes")
        copy.flush()
    except OSError as error:
        if error.errno in NOT_ALLOWED:
            raise BadInput(f"the model {path} cannot be read: {error.strerror}") from None
        raise Unavailable(f"the model {path} could not be copied: {error.strerror}") from None
    if expected and seen.hexdigest() != expected:
        raise BadInput(
            f"the model {path} is not the one that its manifest names: its SHA-256 is "
            f"{seen.hexdigest()}, expected {expected}. Nothing of it was loaded; use another "
            "version or copy"
        )


def _inspected(file: BinaryIO) -> _Checked:
    """Returns what is in a model file.

    Each check relies on those before it: what the members are, that the texts are small, what the
    texts say, and only then the weights, which take the most time.

    Raises:
        Foreign: It is not a model of ours.
    """
    _refuse_other_formats(file)
    members = container.members(file)
    container.refuse_large(members, TEXT_BYTES)
    version = _keras_version(container.contents(file, members[METADATA]))
    config = configuration.parsed(container.contents(file, members[CONFIG]), CONFIG)
    with _naming_versions(version):
        recipe = blueprint.recipe_of(config)
    container.verify(file, members[WEIGHTS])
    start, size, _ = members[WEIGHTS]
    return _Checked(version, config, recipe, weights.inspected(file, start, size), size)


def _refuse_other_formats(file: BinaryIO) -> None:
    file.seek(0)
    start = file.read(4)
    for magic, name in MAGIC.items():
        if start.startswith(magic):
            raise Foreign(f"is {name}; only {SUFFIX} files are loaded")


def _keras_version(data: bytes) -> str:
    """Returns the version of Keras that saved a file."""
    found = configuration.parsed(data, METADATA)
    if not isinstance(found, dict) or found.keys() != ABOUT:
        raise Foreign(f"has a {METADATA} that says something else than {', '.join(sorted(ABOUT))}")
    if not all(isinstance(value, str) for value in found.values()):
        raise Foreign(f"has a {METADATA} that says something else than texts")
    version: str = found["keras_version"]
    if not VERSION.fullmatch(version):
        raise Foreign(f"has a {METADATA} with an impossible version of Keras: {shown(version)}")
    return version


@contextmanager
def _naming_versions(version: str) -> Generator[None, None, None]:
    """Adds to a refusal which version of Keras saved the file, and which one is here.

    If they differ, that is the likely reason; if they are the same, nothing is added.
    """
    here = metadata.version("keras")
    try:
        yield
    except Foreign as error:
        if version == here:
            raise
        told = f"it was saved by Keras {version}, and here is Keras {here}"
        raise Foreign(f"{error}; {told}") from None


def _built(keras: Any, found: _Checked) -> Any:
    """Returns the file's network, built by our own code, with the file's weights."""
    recipe, size = found.recipe, found.weights.bytes
    network = backbone.Network.untrained(keras, recipe.backbone, recipe.image_size)
    network = network.seeing(pixels.Pixels(*recipe.pixels) if recipe.pixels else None)
    needed = FLOAT.itemsize * fewest_parameters(network, recipe)
    if size < needed:  # before more is built of what the file only claims to be
        raise Foreign(f"has {size} bytes of weights where {recipe} needs {needed}")
    model = rebuilt(network, recipe)
    ours = json.loads(json.dumps(keras.saving.serialize_keras_object(model)))
    same_version = found.keras_version == keras.__version__
    with _naming_versions(found.keras_version):
        if told := blueprint.difference(ours, found.config, same_version=same_version):
            raise Foreign(f"is no model of ours: its {told}")
        weights.fill(model, found.weights)
    if not same_version:
        log.warning(
            "model_of_another_keras saved_by=%s here=%s: only what both versions say of a network "
            "was compared",
            found.keras_version,
            keras.__version__,
        )
    return model


def _refusal(path: Path, reason: str) -> BadInput:
    return BadInput(f"the model {path} {reason}. {WAY_OUT}")
