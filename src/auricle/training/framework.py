"""lightning, or the message which extra installs it: no other file imports it."""

from auricle.errors import missing_extra

try:
    import tensorboard  # noqa: F401 - lightning asks later
    from lightning import pytorch as lightning
    from lightning.pytorch.callbacks import Checkpoint, WeightAveraging
    from lightning.pytorch.loggers import (
        CSVLogger,
        Logger,
        MLFlowLogger,
        TensorBoardLogger,
        WandbLogger,
    )
    from lightning.pytorch.plugins.io import TorchCheckpointIO
    from lightning.pytorch.strategies import FSDPStrategy
    from lightning.pytorch.utilities import rank_zero_only
except ImportError as error:
    package = str(error.name).partition(".")[0]
    raise missing_extra(package, "train", "training") from error
