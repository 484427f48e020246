"""The knobs of the training: the network, what of it is trained, and how."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator

from skin_pipeline.config.environment import Environment, parts
from skin_pipeline.config.knobs import FIRST, knob, number

# What can differ in a corrupted copy of an image (`training.corruptions.KINDS`).
CORRUPTIONS = (
    *("crop", "light", "exposure", "saturation"),
    *("vignette", "frame", "blur", "resolution", "jpeg"),
)
# Networks of keras.applications, by their names there.
Backbone = Literal[
    "ResNet50",
    "ResNet101",
    "ResNet152",
    "ResNet50V2",
    "ResNet101V2",
    "ResNet152V2",
    "Xception",
    "InceptionV3",
    "InceptionResNetV2",
    "DenseNet121",
    "DenseNet169",
    "DenseNet201",
    "EfficientNetB0",
    "EfficientNetB1",
    "EfficientNetB2",
    "EfficientNetB3",
    "EfficientNetB4",
    "EfficientNetB5",
    "EfficientNetB6",
    "EfficientNetB7",
    "EfficientNetV2B0",
    "EfficientNetV2B1",
    "EfficientNetV2B2",
    "EfficientNetV2B3",
    "EfficientNetV2S",
    "EfficientNetV2M",
    "EfficientNetV2L",
    "MobileNet",
    "MobileNetV2",
    "MobileNetV3Small",
    "MobileNetV3Large",
    "VGG16",
    "VGG19",
    "ConvNeXtTiny",
    "ConvNeXtSmall",
    "ConvNeXtBase",
    "ConvNeXtLarge",
]
# The smallest images, as their side in pixels, of the networks that do not take all `image_size`.
LEAST = {"Xception": 71, "InceptionV3": 75, "InceptionResNetV2": 75}


class TrainingKnobs(Environment):
    """The network and its weights, the strategy, and the course of a run."""

    backbone: Backbone = knob(
        "ResNet50",
        "Training",
        "The network: all of keras.applications, but for NASNet and ConvNeXtXLarge.",
        title="Network",
        labels={
            "ResNet50": "ResNet50: the default",
            **{name: f"{name}: images of {side} pixels or more" for name, side in LEAST.items()},
        },
    )
    weights: str = knob(
        "imagenet",
        "Training",
        "The network's weights: `imagenet` (downloaded by Keras), `none` (random; synthetic data "
        "only), or a file that Keras saved (`.keras`, `.weights.h5`, `.h5`) of a model that "
        "contains the network.",
        min_length=1,
        title="Weights of the network",
    )
    engine: Literal["auto", "tensorflow", "openvino"] = knob(
        "auto",
        "Training",
        "What computes the frozen network: `tensorflow`, `openvino` (an extra that is quick on "
        "CPUs), or whichever is measured to be quicker and agrees (`auto`).",
        title="Engine",
    )
    precision: Literal["auto", "float32", "bfloat16"] = knob(
        "auto",
        "Training",
        "In what precision the frozen network is computed: `float32`, or `bfloat16`, which is "
        "several times as fast on GPUs, and by `openvino` on processors that have it.",
        title="Precision of the engine",
    )
    strategy: Literal["head", "fine_tune", "full"] = knob(
        "head",
        FIRST,
        "What each run trains: a `head` on cached features (seconds), the last stage and the head "
        "on cached maps (`fine_tune`, three times the time), or the whole network (`full`, for a "
        "GPU).",
        title="Strategy",
        labels={
            "head": "head: the standard, in minutes",
            "fine_tune": "fine_tune: the network's last stage too",
            "full": "full: the whole network, for a GPU",
        },
    )
    head_stages: Annotated[Literal[1, 2, 3], BeforeValidator(number)] = knob(
        2,
        "Training",
        "How many of the network's three stages a `head` reads, from the first. Without the last "
        "one it did better on images of other archives, no worse on its own, and is quicker.",
        title="Stages of the network that a head reads",
    )
    views: Annotated[Literal[1, 2, 4, 8], BeforeValidator(number)] = knob(
        2,
        "Training",
        "Dihedral views (flips and quarter turns) of each square to train on.",
        title="Views of each image to train on",
    )
    corrupted: int = knob(
        2,
        "Training",
        "Copies of each image to train on as well, as another camera, lamp or archive might have "
        "made them, so that a model relies less on what is peculiar to its own archive.",
        ge=0,
        le=8,
        title="Corrupted copies of each image to train on",
    )
    corruptions: str = knob(
        ", ".join(CORRUPTIONS),
        "Training",
        f"What differs in corrupted copies: any of {', '.join(CORRUPTIONS)}.",
        min_length=1,
        title="What differs in corrupted copies",
    )
    shard_size: int = knob(
        256,
        "Training",
        "Most images that are packed and worked on together. A features task takes one such shard, "
        "or several where a data set has more than 512. A set of at most 20 shards has shards of "
        "equal size; a larger one is decoded by several tasks.",
        ge=16,
        le=4096,
        title="Images in a shard",
    )
    epochs: int = knob(
        60,
        "Training",
        "Most epochs of a head.",
        ge=1,
        le=1000,
        title="Most epochs of a head",
    )
    patience: int = knob(
        8,
        "Training",
        "Epochs without a better validation AUC before a run stops.",
        ge=1,
        le=1000,
        title="Patience (epochs)",
    )
    batch_size: int = knob(
        64,
        "Training",
        "Images in a batch of a head.",
        ge=1,
        le=4096,
        title="Batch of a head (images)",
    )
    learning_rate: float = knob(
        3e-4,
        "Training",
        "Adam's learning rate for a head.",
        gt=0.0,
        le=1.0,
        title="Learning rate of a head",
    )
    l2: float = knob(
        3e-3,
        "Training",
        "L2 penalty on the head's weights.",
        ge=0.0,
        le=10.0,
        title="L2 penalty of a head",
    )
    tune_epochs: int = knob(
        3,
        "Training",
        "Most epochs of `fine_tune` and `full`, after the head's.",
        ge=1,
        le=1000,
        title="Most epochs of fine tuning",
    )
    tune_batch_size: int = knob(
        32,
        "Training",
        "Images in a batch of `fine_tune` and `full`.",
        ge=1,
        le=4096,
        title="Batch of fine tuning (images)",
    )
    tune_learning_rate: float = knob(
        1e-4,
        "Training",
        "Adam's learning rate for `fine_tune` and `full`; it falls to 0 along a cosine.",
        gt=0.0,
        le=1.0,
        title="Learning rate of fine tuning",
    )
    jitter: float = knob(
        0.1,
        "Training",
        "Strength of the colour and crop augmentation of `full`; 0 for none.",
        ge=0.0,
        le=0.5,
        title="Strength of the colour and crop augmentation",
    )

    @property
    def corruption_list(self) -> tuple[str, ...]:
        """What differs in corrupted copies, each once, in the order in which it happens."""
        named = set(parts(self.corruptions))
        return tuple(kind for kind in CORRUPTIONS if kind in named) if self.corrupted else ()
