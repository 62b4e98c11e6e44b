"""Classifier: a checkpoint on a device that names what is heard.

Shapes: S samples, B waveforms, C classes, D width of the embedding.
"""

import copy
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Self, overload

import torch
from torch import Tensor

from auricle import audio, checkpoint
from auricle.errors import AudioError, CheckpointError, ConfigError, UserError
from auricle.inference import names, ontology, recognition, windows
from auricle.inference.engine import Engine, TorchEngine
from auricle.inference.events import DEFAULT_THRESHOLD, EventSettings, of_label
from auricle.inference.ontology import Group
from auricle.inference.recognition import Prediction, Recognition, Segment, Selection
from auricle.inference.timeline import HOP_SECONDS, WINDOW_SECONDS, Timeline, Tracking, track
from auricle.inference.waveform import Waveform, to_mono
from auricle.inference.windows import DEFAULT_LIMITS, Compute, Limits, Recording, Sound


class Classifier:
    """An engine whose scores are joined over windows and read as labels: sound in, labels out.

    A recording longer than the engine's input is cut into overlapping windows, and the scores of
    those that are not silent are joined. Files of any length are read in blocks.

    Args:
        model: a checkpoint, or an engine that runs one.
        device: of a checkpoint: "auto" (the fastest present), "cpu", "cuda", "cuda:1" or "mps".
        aggregation: how the scores of windows are joined, "mean" or "max".

    Raises:
        CheckpointError: the model has no labels.
        ConfigError: unknown device or aggregation.
    """

    def __init__(
        self,
        model: checkpoint.Checkpoint | Engine,
        device: str = "auto",
        aggregation: str = "mean",
    ):
        if not model.labels:
            raise CheckpointError(
                "the checkpoint has no labels: it is a start for training, not a classifier. Train "
                "it first, or choose another model."
            )
        self.aggregate = windows.aggregation(aggregation)
        self.selection = recognition.EVERYTHING
        self.engine: Engine = (
            TorchEngine(model, device) if isinstance(model, checkpoint.Checkpoint) else model
        )

    @classmethod
    def load(
        cls, name_or_path: str | Path, device: str = "auto", aggregation: str = "mean"
    ) -> Self:
        """A classifier from a built-in name, a folder or file, or an id of the Hugging Face hub.

        Raises:
            CheckpointError: nothing is called so, or what is there cannot be used.
        """
        found = names.resolve(name_or_path)
        names.check_labels(found, name_or_path)
        return cls(found, device, aggregation)

    from_pretrained = load

    @property
    def checkpoint(self) -> checkpoint.Checkpoint:
        """The checkpoint that the engine runs; CheckpointError: the engine is of another kind."""
        if not isinstance(self.engine, TorchEngine):
            raise CheckpointError("this classifier runs no checkpoint, so it cannot be saved.")
        return self.engine.checkpoint

    @property
    def labels(self) -> list[str]:
        """Names of the C classes, in the order of the scores."""
        return self.engine.labels

    @property
    def thresholds(self) -> tuple[float, ...] | None:
        """From which score on each label is recognised; None: nothing was calibrated."""
        return self.engine.thresholds

    @property
    def sample_rate(self) -> int:
        """Rate of the samples that the model reads, in Hz; other rates are resampled."""
        return self.engine.sample_rate

    @property
    def window_seconds(self) -> float:
        """Length of the longest sound that is scored in one piece."""
        return self.engine.longest_samples / self.sample_rate

    def classify_file(self, source: audio.Source, top: int = 5) -> list[Prediction]:
        """The `top` best labels of a sound file (a path, its bytes, or an open file), best first.

        Raises:
            AudioError: the sound cannot be read, or is too short.
        """
        return self.recognise_file(source, top).best

    def recognise_file(self, source: audio.Source, top: int = 5) -> Recognition:
        """`classify_file`, and besides which labels are recognised, and whether there is any sound.

        A recording is silent where each of its windows is.

        Raises:
            AudioError: the sound cannot be read, or is too short.
        """
        check_top(top)
        return self.interpret(self.whole(self.segments(source)), top)

    def group_file(self, source: audio.Source, top: int = 5) -> list[Group]:
        """The `top` best groups of a sound file: `groups`.

        Raises:
            AudioError: the sound cannot be read, or is too short.
            CheckpointError: the labels are not those of AudioSet.
        """
        check_top(top)
        self.check_groups()
        return self.groups(self.whole(self.segments(source)), top)

    @overload
    def classify(
        self, waveform: list[Waveform], sample_rate: int, top: int = 5
    ) -> list[list[Prediction]]: ...
    @overload
    def classify(self, waveform: Waveform, sample_rate: int, top: int = 5) -> list[Prediction]: ...
    def classify(
        self, waveform: Waveform | list[Waveform], sample_rate: int, top: int = 5
    ) -> list[Prediction] | list[list[Prediction]]:
        """The `top` best labels of a waveform, best first; for a list of waveforms a list of those.

        Args:
            waveform: numpy array or tensor, `(S,)`, `(channels, S)` or `(S, channels)`; floating
                point with full scale at +-1, or int16. A list or tuple of them may hold
                different lengths.
            sample_rate: of the waveform, in Hz.

        Raises:
            AudioError: a waveform of another form, without samples, too short, or not finite.
        """
        if isinstance(waveform, list | tuple):
            return [answer.best for answer in self.recognise(waveform, sample_rate, top)]
        return self.recognise(waveform, sample_rate, top).best

    @overload
    def recognise(
        self, waveform: list[Waveform], sample_rate: int, top: int = 5
    ) -> list[Recognition]: ...
    @overload
    def recognise(self, waveform: Waveform, sample_rate: int, top: int = 5) -> Recognition: ...
    def recognise(
        self, waveform: Waveform | list[Waveform], sample_rate: int, top: int = 5
    ) -> Recognition | list[Recognition]:
        """`recognise_file` for a waveform, or a list of them; arguments are those of `classify`."""
        check_top(top)
        found = self._run(self.engine.score, self._prepared(waveform, sample_rate))
        answers = [self.interpret(self.whole(segments), top) for segments in found]
        return answers if isinstance(waveform, list | tuple) else answers[0]

    def embed(self, waveform: Waveform | list[Waveform], sample_rate: int) -> Tensor:
        """What the model's head reads, `(D,)`, or `(B, D)` for a list; of windows their mean.

        Arguments and errors are those of `classify`.
        """
        found = self._run(self.engine.embed, self._prepared(waveform, sample_rate))
        rows = [windows.join(segments).values for segments in found]
        if not isinstance(waveform, list | tuple):
            return rows[0]
        return torch.stack(rows) if rows else torch.empty(0, 0)

    def embed_file(self, source: audio.Source) -> Tensor:
        """`embed` of a sound file of any length, `(D,)`.

        Raises:
            AudioError: the sound cannot be read, or is too short.
        """
        [segments] = self._run(self.engine.embed, [audio.blocks(source, self.sample_rate)])
        return windows.join(segments).values

    def score_waveforms(self, waveforms: list[Tensor]) -> Tensor:
        """Scores `(B, C)` of float32 waveforms `(S,)`, mono, at the model's own rate."""
        found = self._run(self.engine.score, [[waveform] for waveform in waveforms])
        return torch.stack([self.whole(segments).values for segments in found])

    def score_file(self, source: audio.Source) -> Tensor:
        """Scores `(C,)` of a sound file of any length."""
        return self.whole(self.segments(source)).values

    def score_files(
        self, sounds: Iterable[Sound], limits: Limits = DEFAULT_LIMITS
    ) -> Iterator[Tensor | UserError]:
        """Scores `(C,)` of each sound file, or its error, in order; scored together, in batches."""
        return windows.join_files(self.engine, self.engine.score, sounds, limits, self.aggregate)

    def segments(self, source: audio.Source) -> Iterator[Segment]:
        """Every window of a sound file with its scores, in order; read and scored in blocks."""
        recordings = [audio.blocks(source, self.sample_rate)]
        for _, outcome in windows.run(self.engine, self.engine.score, recordings):
            if isinstance(outcome, UserError):
                raise outcome
            yield outcome

    def timeline(
        self,
        source: audio.Source,
        hop: float = HOP_SECONDS,
        window: float = WINDOW_SECONDS,
        events: EventSettings | None = None,
        drop_if: Mapping[str, float | None] | None = None,
    ) -> Timeline:
        """Scores of a sound file over time, and which label is heard from where to where.

        A model with frame scores is run once; another one scores a window around each hop.

        Args:
            hop: seconds from one score to the next.
            window: seconds around each, where the model has no frame scores.
            events: how scores become events; None: `event_settings`.
            drop_if: labels in whose presence nothing is kept, from a score on; None: the label's
                threshold. As in `select`, a name of AudioSet's ontology stands for all under it.

        Raises:
            AudioError: the sound cannot be read.
            ConfigError: a label is unknown, or a time is none.
        """
        recording = audio.blocks(source, self.sample_rate)
        return track(self.engine, recording, self.tracking(hop, window, events, drop_if))

    def tracking(
        self,
        hop: float = HOP_SECONDS,
        window: float = WINDOW_SECONDS,
        events: EventSettings | None = None,
        drop_if: Mapping[str, float | None] | None = None,
        keep_all: bool = True,
    ) -> Tracking:
        """What `timeline` asks of `track`; arguments and errors are its own.

        Args:
            keep_all: False keeps only scores that matter to events, which hours of sound need.
        """
        settings = events or self.event_settings()
        drop: dict[int, float] = {}
        for name, threshold in (drop_if or {}).items():
            for column in ontology.columns_of([name], self.labels):
                own = of_label(settings.threshold, self.labels[column])
                drop[column] = own if threshold is None else threshold
        return Tracking(hop, window, settings, self.selection.columns, drop, keep_all)

    def event_settings(self) -> EventSettings:
        """How scores become events: from each label's threshold on, or else from 0.5.

        Of a selection with a least score, from that on where it is more.
        """
        least = self.selection.min_score
        if self.thresholds is None:
            return EventSettings(threshold=max(least, DEFAULT_THRESHOLD))
        pairs = zip(self.labels, self.thresholds, strict=True)
        return EventSettings(threshold={label: max(least, own) for label, own in pairs})

    def whole(self, segments: Iterable[Segment]) -> Segment:
        """Consecutive windows of a recording as one segment, as loud as the loudest of them.

        Silent windows have no part in the scores, unless all are: pauses do not drown what sounds.
        """
        return windows.join(segments, self.aggregate)

    def interpret(self, segment: Segment, top: int = 5) -> Recognition:
        """The `top` best labels of a segment, which are recognised, and whether it is silent."""
        labels, thresholds = self.labels, self.thresholds
        return recognition.recognise(segment, labels, thresholds, top, self.selection)

    def groups(self, segment: Segment, top: int = 5) -> list[Group]:
        """The `top` best groups of a segment, recognised ones first: see `ontology.groups`.

        Raises:
            CheckpointError: the labels are not those of AudioSet.
        """
        reached = recognition.reached(segment, self.thresholds)
        columns = self.selection.of(segment, self.labels)
        found = ontology.groups(
            [self.labels[column] for column in columns],
            segment.values[columns].tolist(),
            None if reached is None else [reached[column] for column in columns],
        )
        return [group for group in found if group.score >= self.selection.min_score][:top]

    def select(
        self,
        labels: Sequence[str] | None = None,
        without: Sequence[str] = (),
        min_score: float = 0.0,
    ) -> Self:
        """A classifier whose answers name only some labels; scores stay as they are.

        Args:
            labels: the only ones to name; None: all. A name of AudioSet's ontology, or its id,
                stands for everything under it, too.
            without: labels never to name.
            min_score: from which score on a label or group is named.

        Raises:
            ConfigError: the model has no such label, with the nearest, or none is left.
        """
        columns = frozenset(range(len(self.labels)))
        if labels is not None:
            columns = ontology.columns_of(labels, self.labels)
        columns -= ontology.columns_of(without, self.labels)
        if not columns:
            raise ConfigError("no label is left to name. Leave out fewer, or select more.")
        selected = copy.copy(self)
        selected.selection = Selection(columns, min_score)
        return selected

    def check_groups(self) -> None:
        """Make sure that the labels can be grouped (CheckpointError)."""
        ontology.ids_of(self.labels)

    def save_pretrained(self, folder: str | Path) -> None:
        """Write the checkpoint into `folder`, from which `load` reads it."""
        checkpoint.save(self.checkpoint, Path(folder))

    def push_to_hub(self, repo_id: str, private: bool = False) -> str:
        """Upload the checkpoint to the Hugging Face hub as "owner/name"; returns its address.

        Raises:
            CheckpointError: the hub does not take it.
        """
        return names.upload(self.save_pretrained, repo_id, private)

    def _run(self, compute: Compute, recordings: Iterable[Recording]) -> Iterator[list[Segment]]:
        """The windows of each recording; its error is raised."""
        for found in windows.grouped(windows.run(self.engine, compute, recordings)):
            if isinstance(found, UserError):
                raise found
            yield found

    def _prepared(self, waveform: Waveform | list[Waveform], sample_rate: int) -> list[Recording]:
        if not isinstance(waveform, list | tuple):
            return [[to_mono(waveform, sample_rate, self.sample_rate)]]
        recordings: list[Recording] = []
        for index, each in enumerate(waveform):
            try:
                mono = to_mono(each, sample_rate, self.sample_rate)
                windows.check_length(self.engine, len(mono))
            except AudioError as error:
                raise AudioError(f"waveform {index}: {error}") from error
            recordings.append([mono])
        return recordings


def check_top(top: int) -> None:
    """Refuse a number of labels below 1 before any sound is opened (ConfigError)."""
    if top < 1:
        raise ConfigError(f"top is the number of labels to give, at least 1, got {top}.")
