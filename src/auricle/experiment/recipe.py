"""Recipes: everything that a training run depends on, as settings of its parts.

A recipe is of one of three kinds, chosen by its section: `distillation` learns from a teacher,
`pretraining` from sound alone, and a recipe with neither trains on labels. What a kind has no use
for is no setting of it.
"""

from functools import reduce
from operator import or_
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self

from pydantic import AfterValidator, Field, Tag, create_model, model_validator

from auricle import features, models
from auricle.config import Label, Settings, discriminated_by_name
from auricle.data import (
    AugmentationConfig,
    LabelledMixupConfig,
    MixupConfig,
    OverlapConfig,
    split_name,
)
from auricle.features import (
    AnyFilterbankConfig,
    CEDFilterbankConfig,
    EfficientATConfig,
    FbankConfig,
    FeatureNoiseConfig,
    SpecAugmentConfig,
)
from auricle.models import MODELS, InitialPositions
from auricle.training import (
    LOSSES,
    ClassifierTrainingConfig,
    DistillationConfig,
    PretrainingConfig,
    SupervisedConfig,
    TrainingConfig,
)

SplitName = Annotated[str, AfterValidator(split_name)]


class DataConfig(Settings):
    """Which clips are trained on, and which validate.

    Validation is one fold, one split, or a share put aside by groups; or there is none.
    """

    source: str  # manifest, or folder with a sub-folder per class
    train_split: SplitName | None = None  # None: all clips that neither validate nor test
    validation_split: SplitName | None = None
    validation_share: float | None = Field(default=None, gt=0, lt=1)
    fold: int | None = None  # validates; the other folds are trained on
    # Of training clips; None: as long as the model takes, as clips that validate always are.
    crop_seconds: float | None = Field(default=None, gt=0)
    workers: int = Field(default=2, ge=0)  # processes that read sounds
    # Of the clips of an epoch, that may be unreadable: they are skipped; with more, training stops.
    max_faulty_share: float = Field(default=0.01, ge=0, le=1)

    @property
    def validates(self) -> bool:
        """Whether some clips validate."""
        return any(
            side is not None for side in (self.fold, self.validation_split, self.validation_share)
        )

    @model_validator(mode="after")
    def _check(self) -> Self:
        names = ("fold", "validation_split", "validation_share")
        given = [name for name in names if getattr(self, name) is not None]
        if len(given) > 1:
            raise ValueError(f"{given[0]} and {given[1]} cannot be given together; choose one")
        if self.validation_split is not None and self.train_split == self.validation_split:
            raise ValueError("validation_split needs a train_split, and another one")
        return self


class LabelledDataConfig(DataConfig):
    """The same for clips with labels."""

    labels: tuple[Label, ...] | None = None  # in the order of the outputs; None: all in the source
    test_split: SplitName | None = None  # scored once, after the run
    # Training clips with each set of labels, drawn by the seed; None: all. For learning curves.
    clips_per_class: int | None = Field(default=None, ge=1)

    @model_validator(mode="after")
    def _check_test(self) -> Self:
        if self.test_split is not None:
            if self.train_split in (None, self.test_split):
                raise ValueError("test_split needs a train_split, and another one")
            if self.fold is not None:
                raise ValueError("fold and test_split cannot be given together; choose one")
        return self


class MoreDataConfig(Settings):
    """Another set of unlabelled clips to learn from."""

    source: str  # manifest, folder of sounds at any depth, or shards
    share: float = Field(gt=0, lt=1)  # of the clips that an epoch draws
    train_split: SplitName | None = None  # None: all of its clips


class UnlabelledDataConfig(DataConfig):
    """The same for clips that need no labels."""

    # Further sets, each with its share of an epoch's clips, which are then drawn with replacement;
    # `source` has the rest. Validation clips are those of `source`.
    more: tuple[MoreDataConfig, ...] = ()

    @model_validator(mode="after")
    def _check_shares(self) -> Self:
        shares = sum(each.share for each in self.more)
        if shares > 1 - 1e-6:  # sums of decimal fractions are not exact
            raise ValueError(
                f"the shares of more add up to {shares:g}; they must leave source some"
            )
        return self


class _Statistics(Settings):
    """Where mean and std of a filterbank come from.

    given: from this recipe. initial: from the initial weights, which have learned with them.
    dataset: measured over the true frames of the training clips. None: initial with
    initial_weights, else given.
    """

    statistics: Literal["given", "initial", "dataset"] | None = None

    def fbank(self) -> AnyFilterbankConfig:
        """The settings of the filterbank alone."""
        values = self.model_dump(exclude={"statistics"})
        kind: Any = features.FILTERBANKS[values["name"]].config
        return kind(**values)


class FbankFrontEnd(FbankConfig, _Statistics):
    """Kaldi's filterbank, and where its mean and std come from."""


class EfficientATFrontEnd(EfficientATConfig, _Statistics):
    """EfficientAT's filterbank, and where its mean and std come from."""


class CEDFrontEnd(CEDFilterbankConfig, _Statistics):
    """CED's filterbank, and where its mean and std come from."""


FrontEndConfig = Annotated[
    Annotated[FbankFrontEnd, Tag("fbank")]
    | Annotated[EfficientATFrontEnd, Tag("efficientat")]
    | Annotated[CEDFrontEnd, Tag("ced")],
    discriminated_by_name("fbank"),
]


FRONT_ENDS: dict[str, type[FbankFrontEnd | EfficientATFrontEnd | CEDFrontEnd]] = {
    "fbank": FbankFrontEnd,
    "efficientat": EfficientATFrontEnd,
    "ced": CEDFrontEnd,
}

if TYPE_CHECKING:

    class RecipeModelConfig(models.ModelConfig):
        """The settings of any model, with its name."""

        name: str
else:

    def _with_name(name: str, kind: type[models.ModelConfig]) -> Any:
        """The settings of a model in a recipe, where its classes follow the data (0)."""
        fields = {"name": (Literal[name], name), "num_classes": (int, 0)}
        return Annotated[create_model(kind.__name__, __base__=kind, **fields), Tag(name)]

    _KINDS = [_with_name(name, entry.config) for name, entry in MODELS.items()]
    RecipeModelConfig = Annotated[reduce(or_, _KINDS), discriminated_by_name("ast")]


class Recipe(Settings):
    """What recipes of all kinds have; YAML keys are the names of the fields."""

    command: ClassVar[str]  # of `auricle`, which runs such a recipe

    name: str = ""  # of the run; the recipe file's when empty
    seed: int = Field(default=0, ge=0)
    data: DataConfig
    front_end: FrontEndConfig = FbankFrontEnd()
    model: RecipeModelConfig
    initial_weights: str | None = None  # name or path of a model
    # How their positions are brought to another length: AST's ablation.
    initial_positions: InitialPositions = "bilinear"
    augmentation: AugmentationConfig = AugmentationConfig()
    training: TrainingConfig

    @property
    def statistics(self) -> str:
        """Where mean and std come from: given, initial or dataset."""
        default = "given" if self.initial_weights is None else "initial"
        return self.front_end.statistics or default

    @property
    def model_settings(self) -> dict[str, Any]:
        """The settings of the model, without its name."""
        return {key: value for key, value in self.model.to_dict().items() if key != "name"}

    @property
    def activation(self) -> Literal["sigmoid", "softmax"]:
        """What turns the outputs of the model into scores."""
        return "sigmoid"

    def _needs_weights(self) -> dict[str, bool]:
        """Settings that have no meaning without initial weights, and whether they are set."""
        factor, positions = self.training.optimizer.new_modules_factor, self.initial_positions
        return {
            "front_end.statistics 'initial'": self.front_end.statistics == "initial",
            "training.optimizer.new_modules_factor": factor != 1,
            f"initial_positions {positions!r}": positions != "bilinear",
        }

    def _needs_validation(self) -> dict[str, bool]:
        """Settings that have no meaning without clips that validate, and whether they are set."""
        return {"training.early_stop": self.training.early_stop is not None}

    @model_validator(mode="after")
    def _check_needs(self) -> Self:
        for setting, is_set in self._needs_weights().items():
            if is_set and self.initial_weights is None:
                raise ValueError(f"{setting} needs initial_weights")
        for setting, is_set in self._needs_validation().items():
            if is_set and not self.data.validates:
                raise ValueError(
                    f"{setting} needs clips that validate: data.fold, data.validation_split or "
                    "data.validation_share"
                )
        return self

    @model_validator(mode="after")
    def _check_length(self) -> Self:
        """Refuse features that the model does not take."""
        front_end, model = self.front_end, self.model
        if model.num_mels != front_end.num_mels:
            raise ValueError(
                f"model.num_mels is {model.num_mels}, front_end.num_mels is {front_end.num_mels}. "
                "Leave model.num_mels out: it follows the front end"
            )
        if front_end.padding.frames > model.max_frames:
            raise ValueError(
                f"front_end.padding.frames is {front_end.padding.frames}, more than "
                f"model.max_frames ({model.max_frames})"
            )
        seconds = self.data.crop_seconds
        if seconds is None or front_end.padding.mode == "fixed":
            return self
        fbank = features.build(front_end.fbank())
        frames = fbank.num_frames(round(seconds * front_end.sample_rate))
        if frames > model.max_frames:
            longest = fbank.num_samples(model.max_frames) / front_end.sample_rate
            raise ValueError(
                f"data.crop_seconds is {seconds:g}, which are {frames} frames, more than "
                f"model.max_frames ({model.max_frames}). Use at most {longest:g} seconds"
            )
        return self


class ClassifierRecipe(Recipe):
    """What recipes have whose model has classes."""

    mixup: MixupConfig = MixupConfig()
    masking: SpecAugmentConfig = SpecAugmentConfig()
    feature_noise: FeatureNoiseConfig = FeatureNoiseConfig()
    training: ClassifierTrainingConfig

    @property
    def activation(self) -> Literal["sigmoid", "softmax"]:
        """What turns the outputs of the model into scores."""
        return LOSSES[self.training.loss].activation


class TrainRecipe(ClassifierRecipe):
    """A recipe that learns from labels."""

    command = "train"

    seeds: int = Field(default=1, ge=1)  # runs, from `seed` on
    # A run for each of these folds, scored on it and trained on the others; None: data.fold says.
    folds: Literal["all"] | tuple[int, ...] | None = None
    data: LabelledDataConfig
    mixup: LabelledMixupConfig = LabelledMixupConfig()
    training: SupervisedConfig

    def _needs_weights(self) -> dict[str, bool]:
        freezes = self.training.freeze == "backbone"
        return {**super()._needs_weights(), "training.freeze 'backbone'": freezes}

    def _needs_validation(self) -> dict[str, bool]:
        return {} if self.folds is not None else super()._needs_validation()

    @model_validator(mode="after")
    def _check_folds(self) -> Self:
        if self.folds is None:
            return self
        if not self.folds or (self.folds != "all" and len(set(self.folds)) < len(self.folds)):
            raise ValueError("folds wants all, or one fold and more, each once")
        if self.training.early_stop is not None:
            raise ValueError(
                "folds and training.early_stop cannot be given together: the fold that is scored "
                "would choose the epoch"
            )
        names = ("fold", "validation_split", "validation_share", "test_split")
        given = [name for name in names if getattr(self.data, name) is not None]
        if given:
            raise ValueError(f"folds and data.{given[0]} cannot be given together; choose one")
        return self


class UnlabelledRecipe(Recipe):
    """What recipes have that learn without labels."""

    data: UnlabelledDataConfig

    @model_validator(mode="after")
    def _check_draws(self) -> Self:
        sampling = self.training.sampling
        if self.data.more and sampling not in ("shuffle", "length"):
            raise ValueError(
                f"data.more and training.sampling {sampling!r} cannot be given together; use "
                "shuffle or length"
            )
        return self


class DistillRecipe(UnlabelledRecipe, ClassifierRecipe):
    """A recipe that learns from a teacher."""

    command = "distill"

    overlap: OverlapConfig = OverlapConfig()
    distillation: DistillationConfig
    training: ClassifierTrainingConfig


class PretrainRecipe(UnlabelledRecipe):
    """A recipe that learns from sound alone; its model has no classes."""

    command = "pretrain"

    pretraining: PretrainingConfig

    def _needs_validation(self) -> dict[str, bool]:
        probes = self.pretraining.probe is not None
        return {**super()._needs_validation(), "pretraining.probe": probes}
