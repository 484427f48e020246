"""Keras on TensorFlow, set up in this process as models need it, whatever the machine's settings.

    keras = keras_on(threads=2)

TensorFlow and Keras are imported here, at first use and never at import: they take seconds to
start, and a step whose result exists needs neither.
"""

from __future__ import annotations

import logging
import os
import random
from collections.abc import Generator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any

from skin_pipeline.errors import BadInput
from skin_pipeline.foreign import words
from skin_pipeline.imports import quick_import

log = logging.getLogger(__name__)

BACKEND = "tensorflow"  # of Keras
EPSILON = 1e-7  # Keras's own default, which its optimizers use
SHORTENING = ("KERAS_MAX_EPOCHS", "KERAS_MAX_STEPS_PER_EPOCH")  # variables that end training early
UNUSED = ("matplotlib", "sklearn")  # of which Keras has plots and wrappers, if they are there
FLAGS = ("XLA_FLAGS", "TF_XLA_FLAGS")


def keras_on(threads: int) -> Any:
    """Returns Keras on TensorFlow, limited to a number of threads.

    Raises:
        BadInput: Keras runs on another backend in this process already, or cannot be imported.
    """
    # TensorFlow writes messages to the error stream while it works, past every logger.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    with nullcontext() if _has_flags() else _without_chatter():
        keras = _keras_as_needed()
        import tensorflow as tf

        # Threads can be set only before TensorFlow starts. Where it runs in this process already
        # (the command line runs several steps in one), it keeps those that it has.
        with suppress(RuntimeError):
            tf.config.threading.set_intra_op_parallelism_threads(threads)
            tf.config.threading.set_inter_op_parallelism_threads(1)
        # Starts the devices here, so that their messages come while the error stream is silent.
        tf.config.list_logical_devices()
    log.info("tensorflow version=%s keras=%s", tf.__version__, keras.__version__)
    return keras


def _has_flags() -> bool:
    """Returns whether flags of the compiler are set, after a warning that names them.

    TensorFlow ends the process at a flag that it does not know, and gives the reason on the error
    stream only; so that stream must not be silenced then.
    """
    found = [f"{name}={os.environ[name]}" for name in FLAGS if os.environ.get(name)]
    if found:
        log.warning(
            "tensorflow_flags %s (an unknown one ends the process: then correct or unset it)",
            " ".join(found),
        )
    return bool(found)


def _keras_as_needed() -> Any:
    """Returns Keras with the settings that models are made with.

    Settings of a `keras.json`, of the environment or of other code in this process would give other
    results from the same inputs, under the same key of the store.
    """
    os.environ["KERAS_BACKEND"] = BACKEND
    for name in SHORTENING:
        os.environ.pop(name, None)
    try:
        with quick_import("keras", UNUSED):
            import keras
    except Exception as error:  # a keras.json can make the import raise anything
        raise BadInput(
            f"Keras cannot be imported: {words(error)}. Correct or remove keras.json in "
            "~/.keras or in KERAS_HOME, and install the locked packages"
        ) from None
    if keras.config.backend() != BACKEND:
        raise BadInput(
            f"Keras already runs on {keras.config.backend()} in this process; {BACKEND} is needed. "
            f"Set KERAS_BACKEND={BACKEND}, or do not import Keras before"
        )
    keras.config.set_floatx("float32")
    keras.config.set_epsilon(EPSILON)
    keras.config.set_image_data_format("channels_last")
    keras.config.set_dtype_policy("float32")
    return keras


@contextmanager
def _without_chatter() -> Generator[None, None, None]:
    """Silences the error stream; Python's exceptions still come through.

    At its start TensorFlow writes there past every logger, and the log of a task would show as an
    error that there is no GPU. It writes from C++, so the descriptor itself is replaced.
    """
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


@contextmanager
def seeded(keras: Any, seed: int) -> Generator[None, None, None]:
    """Makes what is built in the block depend on a seed only.

    Keras takes the seed of each layer from Python's global generator. Other threads of the process
    draw from it, too, such as one that sends metrics and waits at random: then two workers with
    the same seed would build different networks. So Keras gets a generator of its own here.
    """
    from keras.src.random import seed_generator

    keras.utils.set_random_seed(seed)
    usual = seed_generator.python_random
    seed_generator.python_random = random.Random(seed)
    try:
        yield
    finally:
        seed_generator.python_random = usual


def has_gpu() -> bool:
    """Returns whether there seems to be a GPU, without starting TensorFlow."""
    devices = Path("/dev")
    return any(devices.glob("nvidia[0-9]*")) or (devices / "kfd").exists()


def gpus() -> tuple[str, ...]:
    """Returns the names of the GPUs that TensorFlow sees."""
    import tensorflow as tf

    return tuple(device.name for device in tf.config.list_logical_devices("GPU"))


@contextmanager
def spread_over(keras: Any, devices: Sequence[str]) -> Generator[None, None, None]:
    """Mirrors the model that is built in the block on several devices, in mixed precision.

    Without devices it is built as usual.
    """
    if not devices:
        yield
        return
    import tensorflow as tf

    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_float16")
    try:
        with tf.distribute.MirroredStrategy(list(devices)).scope():
            yield
    finally:
        keras.config.set_dtype_policy(policy)
