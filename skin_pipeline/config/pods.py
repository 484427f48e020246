"""What the pod of a step is given: cores, memory, disk, GPUs, nodes, an image.

pods("train=gpu:1 memory:8Gi node:pool=gpu, *=cpu:1 memory:4Gi disk:20Gi")["train"].cpu   # "1"
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from skin_pipeline.config.environment import EVERY, pairs
from skin_pipeline.foreign import shown

SIZE = r"[1-9]\d*[KMGT]i"
LABEL = r"([a-z0-9][a-z0-9.-]*/)?[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?"
VALUE = r"([A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?)?"


@dataclass(frozen=True)
class Word:
    """A kind of word of the setting: what may follow its colon, and how it is explained."""

    pattern: str
    example: str
    often: bool = False


WORDS = {
    "cpu": Word(r"[1-9]\d*m|0\.\d?[1-9]|[1-9]\d*(\.\d{1,2})?", "cpu:2, cpu:0.5 or cpu:500m"),
    "memory": Word(SIZE, "memory:8Gi"),
    "disk": Word(SIZE, "disk:50Gi"),
    "gpu": Word(r"[1-9]\d?", "gpu:1"),
    "image": Word(r"[a-z0-9][A-Za-z0-9_.:/@-]*", "image:registry.example.org/skin:gpu"),
    "node": Word(f"{LABEL}={VALUE}", "node:LABEL=VALUE", often=True),
    "tolerate": Word(f"{LABEL}(={VALUE})?", "tolerate:TAINT or tolerate:TAINT=VALUE", often=True),
}
ALLOWED = "; ".join(word.example for word in WORDS.values())
AMOUNTS = ("cpu", "memory", "disk")


@dataclass(frozen=True)
class Pod:
    """What the pod of a step is given.

    Attributes:
        cpu, memory, disk: As Kubernetes writes amounts: `500m`, `8Gi`. Empty where none is set.
        gpu: The number of GPUs.
        image: The image that it runs. Empty: that of the others.
        nodes: Label and value of the nodes that it may run on.
        tolerations: The taints that it tolerates, each with its value or an empty one.
    """

    cpu: str = ""
    memory: str = ""
    disk: str = ""
    gpu: int = 0
    image: str = ""
    nodes: tuple[tuple[str, str], ...] = ()
    tolerations: tuple[tuple[str, str], ...] = ()


def pods(text: str) -> dict[str, Pod]:
    """Returns what a setting such as `train=gpu:1, *=cpu:1 memory:4Gi disk:20Gi` gives to each
    step that it names. What a step does not name itself it gets from `*`.

    Raises:
        ValueError: A part is not of this form, or leaves a pod without a bound.
    """
    words = {step: _words(step, given) for step, given in pairs(text).items()}
    every = words.get(EVERY, {})
    return {step: _pod(step, {**every, **own}) for step, own in words.items()}


def _words(step: str, text: str) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for part in text.split():
        name, _, value = part.partition(":")
        word = WORDS.get(name)
        if word is None or not re.fullmatch(word.pattern, value, re.ASCII):
            raise ValueError(f"{shown(part)} of {shown(step)} is none of {ALLOWED}")
        if name in found and not word.often:
            raise ValueError(f"{name} of {shown(step)} is set twice")
        found.setdefault(name, []).append(value)
    return found


def _pod(step: str, words: dict[str, list[str]]) -> Pod:
    one = {name: values[0] for name, values in words.items()}
    missing = [name for name in AMOUNTS if name not in one]
    # What is set here replaces all amounts of the pod template: a pod would have no bound.
    if missing and {*AMOUNTS, "gpu"} & one.keys():
        raise ValueError(
            f"{shown(step)} has no {' and no '.join(missing)}, which must be set together with "
            f"what it has. Add it there or to {EVERY}, as in *=cpu:1 memory:4Gi disk:20Gi"
        )
    return Pod(
        **{name: one.get(name, "") for name in (*AMOUNTS, "image")},
        gpu=int(one.get("gpu", 0)),
        nodes=_halves(words.get("node", [])),
        tolerations=_halves(words.get("tolerate", [])),
    )


def _halves(texts: list[str]) -> tuple[tuple[str, str], ...]:
    return tuple((key, value) for key, _, value in (text.partition("=") for text in texts))
