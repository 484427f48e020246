"""The model file `model.keras`: how it is put together, opened with care, and tried.

Takes in the weights of trained runs and the network of `training`, and gives one self-contained
Keras model: an image of any size in, a probability out. And it takes in a file that a stranger may
have written, and gives a model that runs none of its code. `evaluation` puts a model together and
loads it again, `release` tries it before it is published and loads it for predictions; no
other room uses it. The modules in reading order:

    building     the self-contained model, from a network and the weights of its runs
    looking      its first part: the squares that it sees of an image of any size
    loading      a file to a model: all checks in their order, then our own network with its weights
    blueprint    its configuration, read as data
    weights      its weights, found and judged before they are read
    memory       a bound on the memory that this process may take meanwhile
    running      a loaded model on packed images, by the engine that is quick here
    trial        a model file is loaded, and scores images, in a confined process of its own

Importing the room imports none of them, and no module imports Keras before it is used.
"""

# ruff: file-ignore[undefined-export] (they are modules, imported when they are used)
__all__ = ["building", "loading", "looking", "running", "trial"]
