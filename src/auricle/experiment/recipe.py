"""A recipe: everything that a training run depends on, as settings of its parts."""

from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, Tag, model_validator

from auricle.config import Label, Settings, told_apart_by_name
from auricle.data import AugmentationConfig, MixupConfig, OverlapConfig, split_name
from auricle.features import (
    EfficientATConfig,
    FbankConfig,
    FeatureNoiseConfig,
    SpecAugmentConfig,
)
from auricle.models import InitialPositions
from auricle.training import DistillationConfig, PretrainingConfig, TrainingConfig

SplitName = Annotated[str, AfterValidator(split_name)]


class MoreDataConfig(Settings):
    """Another set of unlabelled clips to learn from."""

    source: str  # manifest, folder of sounds at any depth, or shards
    share: float = Field(gt=0, lt=1)  # of the clips that an epoch draws
    train_split: SplitName | None = None  # None: all of its clips


class DataConfig(Settings):
    """Which clips are trained on, and which tell how good the model is.

    Validation is one fold, one split, or a share put aside by groups; or there is none.
    """

    source: str  # manifest, or folder with a sub-folder per class
    # Further sets, each with its share of an epoch's clips, which are then drawn with replacement;
    # `source` has the rest. Validation clips are those of `source`.
    more: tuple[MoreDataConfig, ...] = ()
    labels: tuple[Label, ...] | None = None  # in the order of the outputs; None: all in the source
    train_split: SplitName | None = None  # None: all clips that neither validate nor test
    validation_split: SplitName | None = None
    validation_share: float | None = Field(default=None, gt=0, lt=1)
    test_split: SplitName | None = None  # scored once, after the run
    fold: int | None = None  # validates; the other folds are trained on
    # Training clips with each set of labels, drawn by the seed; None: all. For learning curves.
    clips_per_class: int | None = Field(default=None, ge=1)
    # Of training clips; None: as long as the model can hear, as clips that validate always are.
    crop_seconds: float | None = Field(default=None, gt=0)
    workers: int = Field(default=2, ge=0)  # processes that read sounds
    # Of the clips of an epoch, that may be unreadable: they are skipped; with more, training stops.
    max_faulty_share: float = Field(default=0.01, ge=0, le=1)

    @model_validator(mode="after")
    def _check(self) -> Self:
        names = ("fold", "validation_split", "validation_share")
        given = [name for name in names if getattr(self, name) is not None]
        if len(given) > 1:
            raise ValueError(f"{given[0]} and {given[1]} cannot be given together; choose one")
        shares = sum(each.share for each in self.more)
        if shares > 1 - 1e-6:  # sums of decimal fractions are not exact
            raise ValueError(
                f"the shares of more add up to {shares:g}; they must leave source some"
            )
        if self.validation_split is not None and self.train_split == self.validation_split:
            raise ValueError("validation_split needs a train_split, and another one")
        if self.test_split is not None:
            if self.train_split in (None, self.test_split):
                raise ValueError("test_split needs a train_split, and another one")
            if self.fold is not None:
                raise ValueError("fold and test_split cannot be given together; choose one")
        return self


class _Statistics(Settings):
    """Where mean and std of a filterbank come from.

    given: from this recipe. initial: from the initial weights, which have learned with them.
    dataset: measured over the true frames of the training clips. None: initial with
    initial_weights, else given.
    """

    statistics: Literal["given", "initial", "dataset"] | None = None


class FbankFrontEnd(FbankConfig, _Statistics):
    """Kaldi's filterbank, and where its mean and std come from."""

    def fbank(self) -> FbankConfig:
        """The settings of the filterbank alone."""
        return FbankConfig(**self.model_dump(exclude={"statistics"}))


class EfficientATFrontEnd(EfficientATConfig, _Statistics):
    """EfficientAT's filterbank, and where its mean and std come from."""

    def fbank(self) -> EfficientATConfig:
        """The settings of the filterbank alone."""
        return EfficientATConfig(**self.model_dump(exclude={"statistics"}))


FrontEndConfig = Annotated[
    Annotated[FbankFrontEnd, Tag("fbank")] | Annotated[EfficientATFrontEnd, Tag("efficientat")],
    told_apart_by_name("fbank"),
]


class Recipe(Settings):
    """Everything that a training run depends on; YAML keys are the names of the fields."""

    name: str = ""  # of the run; the recipe file's when empty
    seed: int = Field(default=0, ge=0)
    seeds: int = Field(default=1, ge=1)  # runs, from `seed` on
    # A run for each of these folds, scored on it and trained on the others; None: data.fold says.
    folds: Literal["all"] | tuple[int, ...] | None = None
    data: DataConfig
    front_end: FrontEndConfig = FbankFrontEnd()
    model: dict[str, Any]  # name, and the settings of that model
    initial_weights: str | None = None  # name or path of a model
    # How their positions are brought to another length: AST's ablation.
    initial_positions: InitialPositions = "bilinear"
    augmentation: AugmentationConfig = AugmentationConfig()
    overlap: OverlapConfig = OverlapConfig()
    mixup: MixupConfig = MixupConfig()
    masking: SpecAugmentConfig = SpecAugmentConfig()
    feature_noise: FeatureNoiseConfig = FeatureNoiseConfig()
    distillation: DistillationConfig | None = None  # from a teacher, without labels
    pretraining: PretrainingConfig | None = None  # from sound alone
    training: TrainingConfig

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.initial_weights is None:
            wants_weights = {
                "front_end.statistics 'initial'": self.front_end.statistics == "initial",
                "training.optimizer.new_modules_factor": (
                    self.training.optimizer.new_modules_factor != 1
                ),
                "training.freeze 'backbone'": self.training.freeze == "backbone",
                f"initial_positions {self.initial_positions!r}": (
                    self.initial_positions != "bilinear"
                ),
            }
            for setting in (name for name, is_set in wants_weights.items() if is_set):
                raise ValueError(f"{setting} needs initial_weights")
        self._check_teaching()
        if self.training.early_stop is not None:
            self._check_early_stop()
        if self.folds is not None:
            if not self.folds or (self.folds != "all" and len(set(self.folds)) < len(self.folds)):
                raise ValueError("folds wants all, or one fold and more, each once")
            names = ("fold", "validation_split", "validation_share", "test_split")
            given = [name for name in names if getattr(self.data, name) is not None]
            if given:
                raise ValueError(f"folds and data.{given[0]} cannot be given together; choose one")
        return self

    def _check_teaching(self) -> None:
        """Refuse what makes no sense with a teacher, and what makes none without."""
        if self.distillation is None and self.overlap.is_used:
            raise ValueError("overlap needs distillation: its scenes have no labels")
        self._check_sets()
        if self.are_labelled:
            return
        if self.distillation is not None and self.pretraining is not None:
            raise ValueError("distillation and pretraining cannot be given together; choose one")
        for_labels = {
            "data.clips_per_class": self.data.clips_per_class is not None,
            "data.labels": self.data.labels is not None,
            "data.test_split": self.data.test_split is not None,
            "folds": self.folds is not None,
            "seeds": self.seeds > 1,
            "training.label_smoothing": self.training.label_smoothing > 0,
            "training.freeze": self.training.freeze != "none",
            "training.optimizer.layer_decay": self.training.optimizer.layer_decay < 1,
        }
        kind = "distillation"
        if self.pretraining is not None:
            kind = "pretraining"
            if self.pretraining.probe is not None:
                self._check_validates("pretraining.probe")
            for_labels |= {
                "mixup.rate": self.mixup.rate > 0,
                "masking": self.masking != SpecAugmentConfig(),
                "feature_noise": self.feature_noise != FeatureNoiseConfig(),
                "training.average_decay": self.training.average_decay > 0,
                "training.average_epochs": self.training.average_epochs is not None,
            }
        for setting in (name for name, is_set in for_labels.items() if is_set):
            raise ValueError(f"{setting} and {kind} cannot be given together; choose one")

    def _check_sets(self) -> None:
        """Refuse several sets, and draws by length, where they make no sense."""
        sampling = self.training.sampling
        if self.are_labelled and self.data.more:
            raise ValueError("data.more needs distillation or pretraining: it has no labels")
        if self.are_labelled and sampling == "length":
            raise ValueError(
                "training.sampling 'length' needs distillation or pretraining: a recording with "
                "labels is looked through whole for each crop"
            )
        if self.data.more and sampling not in ("shuffle", "length"):
            raise ValueError(
                f"data.more and training.sampling {sampling!r} cannot be given together; use "
                "shuffle or length"
            )

    def _check_early_stop(self) -> None:
        if self.folds is not None:
            raise ValueError(
                "folds and training.early_stop cannot be given together: the fold that is scored "
                "would choose the epoch"
            )
        self._check_validates("training.early_stop")

    def _check_validates(self, setting: str) -> None:
        sides = (self.data.fold, self.data.validation_split, self.data.validation_share)
        if all(side is None for side in sides):
            raise ValueError(
                f"{setting} needs clips that validate: data.fold, data.validation_split or "
                "data.validation_share"
            )

    @property
    def are_labelled(self) -> bool:
        """Whether the model learns from labels."""
        return self.distillation is None and self.pretraining is None

    @property
    def statistics(self) -> str:
        """Where mean and std come from: given, initial or dataset."""
        default = "given" if self.initial_weights is None else "initial"
        return self.front_end.statistics or default
