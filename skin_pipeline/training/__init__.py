"""From packed images to trained runs: pretrained weights, cached activations, and six runs on them.

Takes in the manifest, the split and the packed images of `data`, and pretrained weights. Gives the
weights of each run, its history, and its logits on its validation images. For other rooms it also
makes the models of runs again, so that they can score images. The door (`steps`) calls
`pretrained`, `strategies`, `views`, `checkpoints` and `tasks`; `model_file` builds on `backbone`,
`strategies`, `runtime` and how files are read; `evaluation` and `release` score with `models`
on what `inputs` reads. The modules in reading order:

    strategies     what a run trains: the head, the last stage with it, or the whole network
    backbone       a network, taken apart into what is frozen and what is trained
    networks       which networks there are, and where each is taken apart
    pretrained     their weights: pinned in the store, loaded into a network
    weight_files   which files are accepted as weights
    saved          the layers in such a file: their names, and where their arrays are
    transplant     the layers of one network, taken out of such a file
    pixels         how such a file scales the pixels that its network sees
    wiring         what computes within a network, to compare one with another
    container      the zip that a `.keras` file is, byte by byte
    configuration  the configuration in it, read as data
    hdf5           what is inside an HDF5 file, found without following a link
    runtime        TensorFlow and Keras, set up as models need them
    views          what the network is shown of each image: dihedral views and corrupted copies
    corruptions    an image as another camera, lamp or archive might have made it
    features       activations of the frozen network, computed once
    engines        what computes them: TensorFlow, or OpenVINO
    graphs         the network as other engines read it, made once
    probing        which engine is quick on this machine, and agrees
    cache          these activations in the store, found by the pixels of an image
    inputs         what runs read: cached activations or packed images, memory-mapped
    stages         what a run is, and what a stage of it is
    plan           the stages of a run, from its settings
    batches        the batches of an epoch
    ahead          makes batches one ahead of the work on them
    heads          a head in NumPy, for which TensorFlow need not start
    learners       what a stage trains: a head, or a model of Keras
    balance        balance between the classes
    models         the models of runs, on images: network, weights, logits
    runs           a run, trained epoch by epoch
    left_out       a head that learns from all sources but one
    checkpoints    how far a run has come, so that a retry goes on
    resources      whether a task fits on the machine
    tasks          the work of the steps `features` and `train`

Importing the room imports none of them, and no module imports TensorFlow before it is used.
"""

# ruff: file-ignore[undefined-export] (they are modules, imported when they are used)
# `features` and `cache` are here for the benchmarks, `resources` for what an alert says of memory.
__all__ = [
    "backbone",
    "batches",
    "cache",
    "checkpoints",
    "configuration",
    "container",
    "engines",
    "features",
    "graphs",
    "hdf5",
    "inputs",
    "learners",
    "left_out",
    "models",
    "networks",
    "pixels",
    "pretrained",
    "probing",
    "resources",
    "runtime",
    "stages",
    "strategies",
    "tasks",
    "views",
]
