"""A checkpoint: a folder with `config.json`, `model.safetensors` and a model card (`README.md`).

It describes itself: front end with mean and standard deviation, padding, model and settings,
labels, activation. Never a pickle, and nothing of the machine that trained it.
"""

from auricle.checkpoint.folder import (
    CARD_FILE,
    CONFIG_FILE,
    WEIGHTS_FILE,
    check_new,
    load,
    save,
    store_description,
    store_thresholds,
)
from auricle.checkpoint.parts import Checkpoint, CheckpointConfig, check_tensors, create
