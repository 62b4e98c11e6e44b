"""Training: what changes a model's weights. `fit` needs lightning; import it by its name."""

from auricle.training.distillation import (
    Alignment,
    Distillation,
    DistillationConfig,
    Teacher,
    TeacherStatistics,
    start_head,
    teacher_statistics,
)
from auricle.training.machine import Machine
from auricle.training.optimizer import SCHEDULES, LayerwiseOptimizerConfig, OptimizerConfig
from auricle.training.pretraining import (
    Pretraining,
    PretrainingConfig,
    ProbeDataConfig,
    build_objective,
)
from auricle.training.settings import (
    LOSSES,
    ClassifierTrainingConfig,
    Loss,
    SupervisedConfig,
    TrainingConfig,
)
from auricle.training.step import Augmentations, Supervised
