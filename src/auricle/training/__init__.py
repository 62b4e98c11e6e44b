"""Training: what changes a model's weights. `fit` needs lightning; import it by its name."""

from auricle.training.distillation import (
    Alignment,
    Distillation,
    DistillationConfig,
    Scenes,
    Teacher,
    TeacherStatistics,
    start_head,
    teacher_statistics,
)
from auricle.training.losses import LOSSES, Loss
from auricle.training.machine import Machine
from auricle.training.optimizer import OptimizerConfig
from auricle.training.pretraining import (
    Pretraining,
    PretrainingConfig,
    ProbeDataConfig,
    build_objective,
)
from auricle.training.schedule import SCHEDULES
from auricle.training.settings import TrainingConfig
from auricle.training.supervised import Supervised, Variation

__all__ = [
    "LOSSES",
    "Alignment",
    "SCHEDULES",
    "Distillation",
    "DistillationConfig",
    "Loss",
    "Machine",
    "OptimizerConfig",
    "Pretraining",
    "PretrainingConfig",
    "ProbeDataConfig",
    "Scenes",
    "TeacherStatistics",
    "Supervised",
    "Teacher",
    "TrainingConfig",
    "Variation",
    "build_objective",
    "teacher_statistics",
    "start_head",
]
