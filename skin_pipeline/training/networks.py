"""Which networks of keras.applications there are, and where each is taken apart.

    spec = BACKBONES["Xception"]
    model = whole(keras, "Xception", 224)       # random weights, without its top
    recognised([("block1_conv1", 32), …])       # ("Xception", 3)

A network is taken apart only where everything behind a layer reads nothing but that layer, since
the last stage is trained on what the second one gives. NASNet has no such layers: each of its cells
reads two cells before it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, Literal, NamedTuple

from skin_pipeline.errors import BadInput

STAGES = 3  # into which every network is divided


Filters = tuple[int, int, int]


class Spec(NamedTuple):
    """How a network of keras.applications is used.

    Attributes:
        stages: The layers at whose ends features are taken, the shallowest first. There are three,
            because the deepest features are not the best ones on skin.
        scale: How its weights expect pixels: `caffe` (zero-centred BGR), `tf` (-1…1), `torch`
            (ImageNet's mean 0 and deviation 1), or `inside` where the network begins with its own
            scaling.
        filters: How many filters its convolutions have together, up to each of the three ends.
            Networks of a family have the same names of layers, and are told apart by it.
        jit: Whether XLA makes it faster on a CPU; some networks become slower.
        followed: The stages that end one layer later than the one that is named: with the sum or
            the activation that reads it. Keras gives such a layer no name of its own.
        skipping: The layers with which the third stage begins, if they read only every other row
            and column of the second stage's end: the rest of it then need not be cached.
        begin: The layer with which it begins, where its own scaling in front of that is left out:
            it would be kept among the weights.
        least: The smallest images that it takes: their side in pixels.
        mark: A layer near its beginning that another family lacks, which has the same names else.
    """

    stages: tuple[str, str, str]
    scale: Literal["caffe", "tf", "torch", "inside"]
    filters: Filters
    jit: bool = True
    followed: tuple[str, ...] = ()
    skipping: tuple[str, ...] = ()
    begin: str = ""
    least: int = 32
    mark: str = ""


def _resnet(third: str, fourth: str, filters: Filters) -> Spec:
    stages = (f"conv3_{third}_out", f"conv4_{fourth}_out", "conv5_block3_out")
    skipping = ("conv5_block1_0_conv", "conv5_block1_1_conv")
    return Spec(stages, "caffe", filters, skipping=skipping, mark="conv1_bn")


def _resnet_v2(third: str, fourth: str, filters: Filters) -> Spec:
    stages = (f"conv3_{third}_out", f"conv4_{fourth}_out", "post_relu")
    return Spec(stages, "tf", filters, mark="conv2_block1_preact_bn")


def _densenet(fourth: str, filters: Filters) -> Spec:
    stages = ("conv3_block12_concat", f"conv4_{fourth}_concat", "relu")
    return Spec(stages, "torch", filters)


def _efficientnet(third: str, fifth: str, filters: Filters) -> Spec:
    stages = (f"{third}_add", f"{fifth}_add", "top_activation")
    return Spec(stages, "torch", filters, jit=False, begin="stem_conv_pad")


def _efficientnet_v2(third: str, fifth: str, filters: Filters) -> Spec:
    stages = (f"{third}_add", f"{fifth}_add", "top_activation")
    return Spec(stages, "inside", filters, jit=False)


def _mobilenet_v3(first: str, second: str, filters: Filters) -> Spec:
    last = "conv_1_bn"
    return Spec((first, second, last), "inside", filters, jit=False, followed=(last,))


def _convnext(size: str, third: str, filters: Filters) -> Spec:
    stem = f"convnext_{size}_stage"
    first, second = f"{stem}_1_block_2_identity", f"{stem}_2_{third}_identity"
    stages = (first, second, "layer_normalization")
    return Spec(stages, "inside", filters, jit=False, followed=(first, second))


XCEPTION = ("block4_pool", "block8_sepconv3_bn", "block13_pool")
BACKBONES = {
    "ResNet50": _resnet("block4", "block6", (5056, 15296, 26560)),
    "ResNet101": _resnet("block4", "block23", (5056, 41408, 52672)),
    "ResNet152": _resnet("block8", "block36", (8128, 64448, 75712)),
    "ResNet50V2": _resnet_v2("block4", "block6", (5056, 15296, 26560)),
    "ResNet101V2": _resnet_v2("block4", "block23", (5056, 41408, 52672)),
    "ResNet152V2": _resnet_v2("block8", "block36", (8128, 64448, 75712)),
    # Block 14, behind the third end, is the most special to the classes of ImageNet.
    "Xception": Spec(XCEPTION, "tf", (3432, 12168, 23680), jit=False, followed=XCEPTION, least=71),
    "InceptionV3": Spec(("mixed2", "mixed7", "mixed10"), "tf", (1856, 9408, 17216), least=75),
    "InceptionResNetV2": Spec(
        ("block35_10_ac", "block17_20_ac", "conv_7b_ac"), "tf", (6528, 43008, 76032), least=75
    ),
    "DenseNet121": _densenet("block24", (3072, 7168, 10240)),
    "DenseNet169": _densenet("block32", (3072, 8448, 14208)),
    "DenseNet201": _densenet("block48", (3072, 11008, 17024)),
    "EfficientNetB0": _efficientnet("block3b", "block5c", (1490, 8240, 21388)),
    "EfficientNetB1": _efficientnet("block3c", "block5d", (2374, 11668, 31600)),
    "EfficientNetB2": _efficientnet("block3c", "block5d", (2594, 12736, 34410)),
    "EfficientNetB3": _efficientnet("block3c", "block5e", (3054, 17346, 44464)),
    "EfficientNetB4": _efficientnet("block3d", "block5f", (4458, 24808, 63776)),
    "EfficientNetB5": _efficientnet("block3e", "block5g", (6640, 33464, 88000)),
    "EfficientNetB6": _efficientnet("block3f", "block5h", (8716, 43612, 114344)),
    "EfficientNetB7": _efficientnet("block3g", "block5j", (11676, 60792, 158320)),
    "EfficientNetV2B0": _efficientnet_v2("block3b", "block5e", (720, 10212, 30864)),
    "EfficientNetV2B1": _efficientnet_v2("block3c", "block5f", (1136, 13000, 36196)),
    "EfficientNetV2B2": _efficientnet_v2("block3c", "block5f", (1224, 14020, 41910)),
    "EfficientNetV2B3": _efficientnet_v2("block3c", "block5g", (1352, 18390, 55638)),
    "EfficientNetV2S": _efficientnet_v2("block3d", "block5i", (2152, 27416, 78400)),
    "EfficientNetV2M": _efficientnet_v2("block3e", "block5n", (3072, 45224, 148812)),
    "EfficientNetV2L": _efficientnet_v2("block3g", "block5s", (5504, 78472, 261216)),
    "MobileNet": Spec(
        ("conv_pw_5_relu", "conv_pw_11_relu", "conv_pw_13_relu"), "tf", (864, 3936, 5984), jit=False
    ),
    "MobileNetV2": Spec(
        ("block_5_add", "block_12_add", "out_relu"), "tf", (960, 4384, 9920), jit=False
    ),
    "MobileNetV3Small": _mobilenet_v3(
        "expanded_conv_2_add", "expanded_conv_7_add", (264, 2384, 6488)
    ),
    "MobileNetV3Large": _mobilenet_v3(
        "expanded_conv_5_add", "expanded_conv_11_add", (1048, 4992, 12264)
    ),
    "VGG16": Spec(("block3_pool", "block4_pool", "block5_pool"), "caffe", (1152, 2688, 4224)),
    "VGG19": Spec(("block3_pool", "block4_pool", "block5_pool"), "caffe", (1408, 3456, 5504)),
    "ConvNeXtTiny": _convnext("tiny", "block_8", (1152, 4992, 8064)),
    "ConvNeXtSmall": _convnext("small", "block_26", (1152, 11904, 14976)),
    "ConvNeXtBase": _convnext("base", "block_26", (1536, 15872, 19968)),
    "ConvNeXtLarge": _convnext("large", "block_26", (2304, 23808, 29952)),
}


def whole(keras: Any, backbone: str, image_size: int, weights: str | None = None) -> Any:
    """Returns a network of keras.applications without its top, as Keras builds it.

    Args:
        keras: The Keras module.
        backbone: Its name.
        image_size: Side in pixels of the squares that it sees.
        weights: None for random ones, or `imagenet`, which Keras downloads.

    Raises:
        BadInput: The squares are too small for the network.
    """
    if image_size < (least := BACKBONES[backbone].least):
        raise BadInput(f"{backbone} needs image_size={least} or more. Received: {image_size}")
    shape = (image_size, image_size, 3)
    built = getattr(keras.applications, backbone)(
        include_top=False, weights=weights, input_shape=shape
    )
    begin = BACKBONES[backbone].begin
    if not begin:
        return built
    rest = keras.Model(built.get_layer(begin).input, built.output)
    # In a copy, each layer is called once: it has one input and one output.
    copy = keras.models.clone_model(rest, input_tensors=keras.Input(shape, name="scaled"))
    copy.set_weights(rest.get_weights())
    return copy


def ends(model: Any, spec: Spec, stages: int = STAGES) -> tuple[Any, ...]:
    """Returns the symbolic outputs of the first so many stages of a network."""
    operations = model.operations
    names = [item.name for item in operations]
    found = []
    for stage in spec.stages[:stages]:
        end = operations[_index(names, stage)].output
        found.append(_reader(operations, end).output if stage in spec.followed else end)
    return tuple(found)


def _index(names: list[str], wanted: str) -> int:
    """Returns which of these layers is the wanted one."""
    return next(index for index, name in enumerate(names) if is_name(name, wanted))


def _reader(operations: Iterable[Any], end: Any) -> Any:
    """Returns the operation that reads an output."""
    for item in operations:
        inputs = item.input if isinstance(item.input, list) else [item.input]
        if any(one is end for one in inputs):
            return item
    raise ValueError(f"no layer reads {end.name}")


def is_name(name: str, wanted: str) -> bool:
    """Returns whether a layer's name is the wanted one, with or without a number of Keras's.

    Keras numbers layers without a name of their own from the second network in a process on.
    """
    return re.fullmatch(rf"{re.escape(wanted)}(_\d+)?", name) is not None


# --- which network it is --------------------------------------------------------------------------


def recognised(layers: Iterable[tuple[str, int]]) -> tuple[str, int] | None:
    """Returns which network has exactly these layers up to one of its ends, or None.

    Args:
        layers: The name and the number of filters of each layer, in their order.

    Returns:
        The name of the network, and how many of its three stages there are.
    """
    found = list(layers)
    for stages in range(STAGES, 0, -1):
        if name := _recognised(found, stages):
            return name, stages
    return None


def _recognised(layers: list[tuple[str, int]], stages: int) -> str | None:
    filters = sum(width for _, width in layers)
    known = candidates((name for name, _ in layers), stages)
    # Where several fit, they begin in the same way, and are the same as far as they are read.
    return next((one for one in known if BACKBONES[one].filters[stages - 1] == filters), None)


def candidates(names: Iterable[str], stages: int = STAGES) -> list[str]:
    """Returns the networks whose stages end with layers of these names, whatever else there is.

    Args:
        names: Names of layers.
        stages: How many stages, from the first, have to be there.
    """
    known = {"", *(one for name in names for one in (name, _stem(name)))}
    return [
        name
        for name, spec in BACKBONES.items()
        if known.issuperset((spec.mark, *spec.stages[:stages]))
    ]


def _stem(name: str) -> str:
    return re.sub(r"_\d+$", "", name)
