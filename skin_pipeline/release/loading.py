"""Model files from strangers: one is loaded whole and in safe mode, or refused unopened.

    model = load(Path("model.keras"), threads=2)

A `.keras` file names the classes to build, so whoever wrote it chooses what runs. Before Keras is
even imported, the file must be the zip that Keras writes, with nothing packed, and its
configuration may name only what `training.released` makes models of.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

from skin_pipeline.data import archive
from skin_pipeline.errors import BadInput
from skin_pipeline.foreign import shown
from skin_pipeline.training.backbone import keras_on

SUFFIX = ".keras"
CONFIG, METADATA = "config.json", "metadata.json"
MEMBERS = frozenset({METADATA, CONFIG, "model.weights.h5"})
GIB = 2**30
# Twenty runs of `full` take some 2 GiB. Keras packs nothing, so what is packed is not its own.
LIMITS = archive.Limits(entries=len(MEMBERS), total_bytes=4 * GIB, entry_bytes=4 * GIB, ratio=1)
CHUNK = 2**14
CONFIG_BYTES = 16 * 2**20  # twenty runs of the deepest network take 6 MiB
LARGEST_NUMBER = 8192  # of a shape: the widest layer has 3,584 channels
# A model of each backbone and strategy names these, and no others.
BUILDING_BLOCKS = [
    (module, name)
    for module, names in {
        None: "__keras_tensor__",
        "keras": "DTypePolicy Sequential",
        "keras.initializers": "GlorotUniform Ones VarianceScaling Zeros",
        "keras.layers": (
            "Activation Add Average AveragePooling2D BatchNormalization CenterCrop Concatenate "
            "Conv2D Dense DepthwiseConv2D Dropout GlobalAveragePooling2D Identity InputLayer "
            "LayerNormalization MaxPooling2D Multiply Normalization Rescaling Reshape Resizing "
            "ZeroPadding2D"
        ),
        "keras.src.applications.convnext": "LayerScale",
        "keras.src.models.functional": "Functional",
        "keras.src.ops.numpy": "Add Concatenate Flip Mean Reshape Transpose",
    }.items()
    for name in names.split()
]
NAMING = frozenset({"class_name", "module", "registered_name", "spec_name"})
NUMBERED = "shared_object_id"  # a number that is a name
MAGIC = {b"\x89HDF": "an HDF5 file (.h5)", b"\x80": "a pickle"}
WAY_OUT = "Give a model.keras that this pipeline wrote"


def load(path: Path, threads: int) -> Any:
    """A model that scores images, from a file that nobody vouches for.

    Args:
        path: A `.keras` file.
        threads: That TensorFlow may use.

    Returns:
        The Keras model: RGB uint8 (n, h, w, 3) in, probabilities (n, 1) out.

    Raises:
        BadInput: it is no such file; the message says what was found. None of its code ran.
        Unavailable: the disk fails.
    """
    check(path)
    keras = keras_on(threads)
    try:
        model = keras.saving.load_model(path, safe_mode=True, compile=False)
    except Exception as error:  # whatever Keras meets in a file that lies
        reason = f"cannot be loaded by Keras ({_first_line(error)}){_other_version(path)}"
        raise _refusal(path, reason) from None
    _check_shapes(model, path)
    return model


def check(path: Path) -> None:
    """Refuse a file that is not a model of ours, without Keras.

    Raises:
        BadInput: what was found instead.
        Unavailable: the disk fails.
    """
    _refuse_other_formats(path)
    with archive.inspected(path, LIMITS) as (bundle, files):
        if files.keys() != MEMBERS:
            found = ", ".join(map(shown, sorted(files)))
            raise _refusal(path, f"holds {found} instead of {', '.join(sorted(MEMBERS))}")
        if files[CONFIG].file_size > CONFIG_BYTES:
            size = files[CONFIG].file_size
            raise _refusal(path, f"has {size} bytes of {CONFIG}; {CONFIG_BYTES} are allowed")
        try:
            with bundle.open(files[CONFIG]) as source:
                config = json.loads(b"".join(iter(lambda: source.read(CHUNK), b"")))
            problem = next(_problems(config), None)
        except (*archive.DAMAGE, RecursionError) as error:
            raise _refusal(path, f"has a damaged {CONFIG} ({_first_line(error)})") from None
    if problem:
        raise _refusal(path, f"{problem}{_other_version(path)}")


def _other_version(path: Path) -> str:
    """The end of a sentence that names two versions of Keras: the one that saved a checked file,
    and the one that is here. Empty if they are the same."""
    here = metadata.version("keras")
    try:
        with zipfile.ZipFile(path) as bundle, bundle.open(METADATA) as source:
            saved = json.loads(source.read(CHUNK))["keras_version"]
    except (*archive.DAMAGE, KeyError, TypeError):
        saved = "unknown"
    if saved == here:
        return ""
    return f"; it was saved by Keras {shown(str(saved))}, and here is Keras {here}"


def _refuse_other_formats(path: Path) -> None:
    if not path.is_file():
        raise BadInput(f"there is no model file {path}. {WAY_OUT}")
    with path.open("rb") as file:
        start = file.read(4)
    found = next((name for magic, name in MAGIC.items() if start.startswith(magic)), None)
    if found or path.suffix != SUFFIX:
        raise _refusal(path, f"is {found or f'not named {SUFFIX}'}; only {SUFFIX} files are loaded")


def _problems(config: Any) -> Iterator[str]:
    """What in a configuration is none of ours."""
    if isinstance(config, list):
        for item in config:
            yield from _problems(item)
    elif isinstance(config, dict):
        yield from _foreign(config)
        for key, item in config.items():
            if key != NUMBERED:
                yield from _problems(item)
    elif isinstance(config, int | float) and not abs(config) <= LARGEST_NUMBER:  # nor NaN
        yield f"asks for the number {config:g}; {LARGEST_NUMBER} is the largest allowed"


def _foreign(config: dict[str, Any]) -> Iterator[str]:
    if config.get("compile_config"):
        yield "has a configuration of its training, which could name any code"
    if not NAMING & config.keys():
        return
    name = config.get("class_name")
    known = (config.get("module"), name) in BUILDING_BLOCKS
    if not known or config.get("registered_name") not in (None, name) or "spec_name" in config:
        found = (f"{key} {shown(str(config[key]))}" for key in sorted(NAMING & config.keys()))
        yield f"asks for code that no released model has: {', '.join(found)}"


def _check_shapes(model: Any, path: Path) -> None:
    """One image of any size in, one probability out."""
    seen = [(tuple(tensor.shape), tensor.dtype) for tensor in (*model.inputs, *model.outputs)]
    if seen != [((None, None, None, 3), "uint8"), ((None, 1), "float32")]:
        wants = "RGB uint8 (n, h, w, 3) in, float32 (n, 1) out"
        raise _refusal(path, f"is not {wants}. Received: {seen}")


def _refusal(path: Path, reason: str) -> BadInput:
    return BadInput(f"the model {path} {reason}. {WAY_OUT}")


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0][:200]
