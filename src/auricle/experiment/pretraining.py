"""The step in which a recipe's model learns from sound alone."""

import warnings
from collections.abc import Collection, Sequence

from auricle import data
from auricle.checkpoint import Checkpoint
from auricle.errors import ConfigError, DataWarning
from auricle.experiment.prepared import Sources
from auricle.experiment.recipe import PretrainRecipe
from auricle.inference import TorchEngine
from auricle.models import PatchTransformer
from auricle.models.decoders import TransformerDecoderConfig
from auricle.models.patch_masks import num_visible
from auricle.progress import MinuteLines
from auricle.training import Pretraining, PretrainingConfig, ProbeDataConfig, build_objective
from auricle.training.machine import is_first

SPLITS_SETTING = "pretraining.probe.splits"


def build_pretraining(
    recipe: PretrainRecipe,
    sources: Sources,
    trained: Checkpoint,
    new_parameters: Collection[str],
) -> Pretraining:
    """The step in which `trained`, which has no labels, is pretrained.

    Raises:
        ConfigError: the model has no patches, its clips may be too short to hide some, or the
            decoder does not fit it.
    """
    settings, student = recipe.pretraining, trained.model
    if not (isinstance(student, PatchTransformer) and len(student.prefix_tokens)):
        raise ConfigError(
            f"model: {recipe.model.name} cannot be pretrained: it has no patches that could be "
            "hidden from it, or no prefix token. Use asda, ast or ham_ast."
        )
    _check_neighbours(student)
    if getattr(student.config, "patchout", 0):
        raise ConfigError(
            "model.patchout and pretraining cannot be given together: the objective hides patches. "
            "Use model.patchout=0."
        )
    _check_shortest(recipe, student)
    _check_decoder(settings, student)
    return Pretraining(
        trained.fbank,
        build_objective(student, settings.objective, recipe.training.batch_size),
        data.Augmentation(recipe.augmentation, recipe.front_end.sample_rate),
        _Probe(settings.probe, trained, sources) if settings.probe else None,
        settings.stop_at_collapse,
        frozenset(new_parameters),
    )


def _check_neighbours(student: PatchTransformer) -> None:
    """Refuse patches that show what is hidden in those next to them."""
    if student.patches.stem is not None:
        raise ConfigError(
            "model.stem: its convolutions reach over the edges of the patches, so that what is "
            "hidden would be seen in its neighbours. Pretrain without a stem: model.stem=[]."
        )
    patch, stride = student.patches.patch, student.patches.stride
    if any(step < size for step, size in zip(stride, patch, strict=True)):
        raise ConfigError(
            f"model.stride: patches of {list(patch)} overlap at a stride of {list(stride)}, so "
            "that what is hidden would be seen in its neighbours. Pretrain with "
            f"model.stride={list(patch)}; training may go back to {list(stride)}."
        )


def _check_shortest(recipe: PretrainRecipe, student: PatchTransformer) -> None:
    """Refuse clips so short that nothing of them would be seen, before the first is read."""
    frames = max(recipe.front_end.padding.frames, student.config.shortest_frames)
    patches = student.num_tokens(frames) - len(student.prefix_tokens)
    try:
        num_visible(patches, recipe.pretraining.objective.mask_ratio)
    except ConfigError as error:
        raise ConfigError(
            f"front_end.padding.frames: the shortest clip would have {frames} frames. {error}"
        ) from None


def _check_decoder(settings: PretrainingConfig, student: PatchTransformer) -> None:
    decoder, width = settings.objective.decoder, student.config.width
    for name in ("groups", "num_heads"):
        parts = getattr(decoder, name, 1)
        if width % parts:
            fits = max(number for number in range(1, parts) if width % number == 0)
            raise ConfigError(
                f"pretraining.objective.decoder.{name}: {parts} does not divide the model's width "
                f"({width}). Use a number that does, such as {fits}."
            )
    if isinstance(decoder, TransformerDecoderConfig) and width % 4:
        raise ConfigError(
            "pretraining.objective.decoder: its positions need a model.width that 4 divides, not "
            f"{width}."
        )


class _Probe:
    """Accuracies of linear and nearest-neighbour probes on the present embeddings of `trained`."""

    def __init__(self, settings: ProbeDataConfig, trained: Checkpoint, sources: Sources):
        from auricle.evaluation import division  # here, since only probes need torchmetrics

        self.trained = trained
        self.manifest = sources.manifest(settings.source)
        self.splits = settings.splits or division.splits_to_choose_by(self.manifest, SPLITS_SETTING)
        self.has_warned = False
        division.divide(self.manifest, self.splits, SPLITS_SETTING)  # mistakes are found now

    def __call__(self) -> dict[str, float]:
        from auricle import evaluation

        engine = TorchEngine(self.trained, str(next(self.trained.model.parameters()).device))
        lines = MinuteLines(len(self.manifest.clips), "clips of the probe embedded")
        measured = evaluation.probe(engine, self.manifest, self.splits, progress=lines)
        self._report(measured.linear.failures)
        return {
            "linear": measured.linear.metrics[measured.metric],
            "nearest": measured.nearest.metrics[measured.metric],
        }

    def _report(self, failures: Sequence[object]) -> None:
        """Warn once of clips that could not be embedded: the accuracy is that of the others."""
        if failures and not self.has_warned and is_first():
            text = (
                f"pretraining.probe: {len(failures)} of {len(self.manifest.clips)} clips cannot be "
                f"embedded and are left out. The first: {failures[0]}"
            )
            warnings.warn(text, DataWarning, stacklevel=2)
            self.has_warned = True
