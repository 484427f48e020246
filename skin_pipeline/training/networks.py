"""Which networks of keras.applications there are, and where each is taken apart.

    spec = BACKBONES["Xception"]
    model = whole(keras, "Xception", 224)       # random weights, without its top
    recognised([("block1_conv1", 32), …])       # "Xception"

A network is taken apart only where everything behind a layer reads nothing but that layer, since
the last stage is trained on what the second one gives. NASNet has no such layers: each of its cells
reads two cells before it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, Literal, NamedTuple

from skin_pipeline.errors import BadInput


class Spec(NamedTuple):
    """How a network of keras.applications is used.

    Attributes:
        stages: The layers at whose ends features are taken, the shallowest first. There are three,
            because the deepest features are not the best ones on skin.
        scale: How its weights expect pixels: `caffe` (zero-centred BGR), `tf` (-1…1), `torch`
            (ImageNet's mean 0 and deviation 1), or `inside` where the network begins with its own
            scaling.
        filters: How many filters its convolutions have together, up to the third end. Networks of a
            family have the same names of layers, and are told apart by it.
        jit: Whether XLA makes it faster on a CPU; some networks become slower.
        followed: The stages that end one layer later than the one that is named: with the sum or
            the activation that reads it. Keras gives such a layer no name of its own.
        skipping: The layers with which the third stage begins, if they read only every other row
            and column of the second stage's end: the rest of it then need not be cached.
        begin: The layer with which it begins, where its own scaling in front of that is left out:
            it would be kept among the weights.
        least: The smallest images that it takes: their side in pixels.
    """

    stages: tuple[str, str, str]
    scale: Literal["caffe", "tf", "torch", "inside"]
    filters: int
    jit: bool = True
    followed: tuple[str, ...] = ()
    skipping: tuple[str, ...] = ()
    begin: str = ""
    least: int = 32


def _resnet(third: str, fourth: str, filters: int) -> Spec:
    stages = (f"conv3_{third}_out", f"conv4_{fourth}_out", "conv5_block3_out")
    skipping = ("conv5_block1_0_conv", "conv5_block1_1_conv")
    return Spec(stages, "caffe", filters, skipping=skipping)


def _resnet_v2(third: str, fourth: str, filters: int) -> Spec:
    stages = (f"conv3_{third}_out", f"conv4_{fourth}_out", "post_relu")
    return Spec(stages, "tf", filters)


def _densenet(fourth: str, filters: int) -> Spec:
    stages = ("conv3_block12_concat", f"conv4_{fourth}_concat", "relu")
    return Spec(stages, "torch", filters)


def _efficientnet(third: str, fifth: str, filters: int) -> Spec:
    stages = (f"{third}_add", f"{fifth}_add", "top_activation")
    return Spec(stages, "torch", filters, jit=False, begin="stem_conv_pad")


def _efficientnet_v2(third: str, fifth: str, filters: int) -> Spec:
    stages = (f"{third}_add", f"{fifth}_add", "top_activation")
    return Spec(stages, "inside", filters, jit=False)


def _mobilenet_v3(first: str, second: str, filters: int) -> Spec:
    last = "conv_1_bn"
    return Spec((first, second, last), "inside", filters, jit=False, followed=(last,))


def _convnext(size: str, third: str, filters: int) -> Spec:
    stem = f"convnext_{size}_stage"
    first, second = f"{stem}_1_block_2_identity", f"{stem}_2_{third}_identity"
    stages = (first, second, "layer_normalization")
    return Spec(stages, "inside", filters, jit=False, followed=(first, second))


XCEPTION = ("block4_pool", "block8_sepconv3_bn", "block13_pool")
BACKBONES = {
    "ResNet50": _resnet("block4", "block6", 26560),
    "ResNet101": _resnet("block4", "block23", 52672),
    "ResNet152": _resnet("block8", "block36", 75712),
    "ResNet50V2": _resnet_v2("block4", "block6", 26560),
    "ResNet101V2": _resnet_v2("block4", "block23", 52672),
    "ResNet152V2": _resnet_v2("block8", "block36", 75712),
    # Block 14, behind the third end, is the most special to the classes of ImageNet.
    "Xception": Spec(XCEPTION, "tf", 23680, jit=False, followed=XCEPTION, least=71),
    "InceptionV3": Spec(("mixed2", "mixed7", "mixed10"), "tf", 17216, least=75),
    "InceptionResNetV2": Spec(
        ("block35_10_ac", "block17_20_ac", "conv_7b_ac"), "tf", 76032, least=75
    ),
    "DenseNet121": _densenet("block24", 10240),
    "DenseNet169": _densenet("block32", 14208),
    "DenseNet201": _densenet("block48", 17024),
    "EfficientNetB0": _efficientnet("block3b", "block5c", 21388),
    "EfficientNetB1": _efficientnet("block3c", "block5d", 31600),
    "EfficientNetB2": _efficientnet("block3c", "block5d", 34410),
    "EfficientNetB3": _efficientnet("block3c", "block5e", 44464),
    "EfficientNetB4": _efficientnet("block3d", "block5f", 63776),
    "EfficientNetB5": _efficientnet("block3e", "block5g", 88000),
    "EfficientNetB6": _efficientnet("block3f", "block5h", 114344),
    "EfficientNetB7": _efficientnet("block3g", "block5j", 158320),
    "EfficientNetV2B0": _efficientnet_v2("block3b", "block5e", 30864),
    "EfficientNetV2B1": _efficientnet_v2("block3c", "block5f", 36196),
    "EfficientNetV2B2": _efficientnet_v2("block3c", "block5f", 41910),
    "EfficientNetV2B3": _efficientnet_v2("block3c", "block5g", 55638),
    "EfficientNetV2S": _efficientnet_v2("block3d", "block5i", 78400),
    "EfficientNetV2M": _efficientnet_v2("block3e", "block5n", 148812),
    "EfficientNetV2L": _efficientnet_v2("block3g", "block5s", 261216),
    "MobileNet": Spec(
        ("conv_pw_5_relu", "conv_pw_11_relu", "conv_pw_13_relu"), "tf", 5984, jit=False
    ),
    "MobileNetV2": Spec(("block_5_add", "block_12_add", "out_relu"), "tf", 9920, jit=False),
    "MobileNetV3Small": _mobilenet_v3("expanded_conv_2_add", "expanded_conv_7_add", 6488),
    "MobileNetV3Large": _mobilenet_v3("expanded_conv_5_add", "expanded_conv_11_add", 12264),
    "VGG16": Spec(("block3_pool", "block4_pool", "block5_pool"), "caffe", 4224),
    "VGG19": Spec(("block3_pool", "block4_pool", "block5_pool"), "caffe", 5504),
    "ConvNeXtTiny": _convnext("tiny", "block_8", 8064),
    "ConvNeXtSmall": _convnext("small", "block_26", 14976),
    "ConvNeXtBase": _convnext("base", "block_26", 19968),
    "ConvNeXtLarge": _convnext("large", "block_26", 29952),
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


def ends(model: Any, spec: Spec) -> tuple[Any, Any, Any]:
    """Returns the symbolic outputs of the three stages of a network."""
    operations = model.operations
    names = [item.name for item in operations]
    found = []
    for stage in spec.stages:
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


def recognised(layers: Iterable[tuple[str, int]]) -> str | None:
    """Returns which network, up to its third end, has exactly these layers; None if there is none.

    Args:
        layers: The name and the number of filters of each layer, in their order.
    """
    found = list(layers)
    filters = sum(width for _, width in found)
    known = candidates(name for name, _ in found)
    fitting = [name for name in known if BACKBONES[name].filters == filters]
    # ResNet50V2 has all names of ResNet50 and as many filters, but goes on behind them.
    places = {name: _last_place(found, name) for name in fitting}
    return max(fitting, key=places.__getitem__, default=None)


def candidates(names: Iterable[str]) -> list[str]:
    """Returns the networks whose stages end with layers of these names, whatever else there is."""
    known = {one for name in names for one in (name, _stem(name))}
    return [name for name, spec in BACKBONES.items() if known.issuperset(spec.stages)]


def _last_place(layers: list[tuple[str, int]], backbone: str) -> int:
    last = BACKBONES[backbone].stages[2]
    return max(place for place, (name, _) in enumerate(layers) if is_name(name, last))


def _stem(name: str) -> str:
    return re.sub(r"_\d+$", "", name)
