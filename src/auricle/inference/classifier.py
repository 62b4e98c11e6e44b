"""Classifier: a checkpoint on a device that names what is heard.

Shapes: S samples, B waveforms, C classes, D width of the embedding.
"""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Self, overload

import torch
from torch import Tensor

from auricle import audio, checkpoint
from auricle.errors import AudioError, CheckpointError, ConfigError
from auricle.inference import device as devices
from auricle.inference import hub, names, ontology, recognition, windows
from auricle.inference.ontology import Group
from auricle.inference.recognition import Prediction, Recognition, Segment
from auricle.inference.waveform import Waveform, to_mono
from auricle.inference.windows import Window

MAX_BATCH_SAMPLES = 1 << 20  # in one forward pass, 65 s at 16 kHz: bounds the memory it takes

Scorer = Callable[[Tensor, Tensor], Tensor]  # waveforms (B, S), lengths (B,) -> (B, C) or (B, D)


class Classifier:
    """A checkpoint, ready to use: sound in, labels out.

    A recording longer than the model's input is cut into overlapping windows, and the scores of
    those that are not silent are joined. Files of any length are read in blocks.

    Args:
        device: "auto" (the fastest present), "cpu", "cuda", "cuda:1" or "mps".
        aggregation: how the scores of windows are joined, "mean" or "max".

    Raises:
        CheckpointError: the checkpoint has no labels.
        ConfigError: unknown device or aggregation.
    """

    def __init__(
        self,
        model: checkpoint.Checkpoint,
        device: str = "auto",
        aggregation: str = "mean",
    ):
        if not model.labels:
            raise CheckpointError(
                "the checkpoint has no labels: it is a start for training, not a classifier. Train "
                "it first, or choose another model."
            )
        self.aggregate = windows.aggregation(aggregation)
        self.device = devices.choose(device)
        self.checkpoint = model.to(self.device).eval()
        self._window_samples = windows.longest_samples(model)
        self._shortest_samples = windows.shortest_samples(model)

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
    def labels(self) -> list[str]:
        """Names of the C classes, in the order of the scores."""
        return self.checkpoint.labels

    @property
    def thresholds(self) -> tuple[float, ...] | None:
        """From which score on each label is recognised; None: nothing was calibrated."""
        return self.checkpoint.config.thresholds

    @property
    def sample_rate(self) -> int:
        """What the model hears, in Hz; other rates are resampled."""
        return self.checkpoint.config.front_end.sample_rate

    @property
    def window_seconds(self) -> float:
        """Length of the longest sound that is heard in one piece."""
        return self._window_samples / self.sample_rate

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
            waveform: numpy array or tensor, `(S,)` or `(channels, S)`; floating point with full
                scale at +-1, or int16. A list may hold different lengths.
            sample_rate: of the waveform, in Hz.

        Raises:
            AudioError: a waveform of another form, without samples, too short, or not finite.
        """
        if isinstance(waveform, list):
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
        if isinstance(waveform, list):
            prepared = self._prepare_all(waveform, sample_rate)
        else:
            prepared = [self._prepare(waveform, sample_rate)]
        rows = zip(prepared, self.score_waveforms(prepared), strict=True)
        answers = [self.interpret(self._heard(each, scores), top) for each, scores in rows]
        return answers if isinstance(waveform, list) else answers[0]

    def embed(self, waveform: Waveform | list[Waveform], sample_rate: int) -> Tensor:
        """What the model's head reads, `(D,)`, or `(B, D)` for a list; of windows their mean.

        Arguments and errors are those of `classify`.
        """
        if isinstance(waveform, list):
            prepared = self._prepare_all(waveform, sample_rate)
            return self._run_all(prepared, self.checkpoint.embed, windows.mean)
        prepared = [self._prepare(waveform, sample_rate)]
        return self._run_all(prepared, self.checkpoint.embed, windows.mean)[0]

    def score_waveforms(self, waveforms: list[Tensor]) -> Tensor:
        """Scores `(B, C)` of float32 waveforms `(S,)`, mono, at the model's own rate."""
        return self._run_all(waveforms, self.checkpoint.score, self.aggregate)

    def score_file(self, source: audio.Source) -> Tensor:
        """Scores `(C,)` of a sound file of any length."""
        return self.whole(self.segments(source)).scores

    def segments(self, source: audio.Source) -> Iterator[Segment]:
        """Every window of a sound file with its scores, in order; read and scored in blocks."""
        pieces = windows.split(audio.blocks(source, self.sample_rate), self._window_samples)
        for batch in windows.in_batches(pieces, MAX_BATCH_SAMPLES):
            scores = self._run(batch, self.checkpoint.score)
            for window, row in zip(batch, scores, strict=True):
                start, end = window.start / self.sample_rate, window.end / self.sample_rate
                yield Segment(start, end, row, recognition.level(window.waveform))

    def whole(self, segments: Iterable[Segment]) -> Segment:
        """Consecutive windows of a recording as one segment, as loud as the loudest of them.

        Silent windows have no part in the scores, unless all are: pauses do not drown what sounds.
        """
        parts = list(segments)
        sounding = [part for part in parts if not part.is_silent] or parts
        scores = self.aggregate(part.scores[None] for part in sounding)
        loudest = max(part.level for part in parts)
        return Segment(parts[0].start, parts[-1].end, scores, loudest)

    def interpret(self, segment: Segment, top: int = 5) -> Recognition:
        """The `top` best labels of a segment, which are recognised, and whether it is silent."""
        return recognition.recognise(segment, self.labels, self.thresholds, top)

    def groups(self, segment: Segment, top: int = 5) -> list[Group]:
        """The `top` best groups of a segment, recognised ones first: see `ontology.groups`.

        Raises:
            CheckpointError: the labels are not those of AudioSet.
        """
        reached = recognition.reached(segment, self.thresholds)
        return ontology.groups(self.labels, segment.scores.tolist(), reached)[:top]

    def check_groups(self) -> None:
        """Make sure that the labels can be grouped.

        Raises:
            CheckpointError: they are not those of AudioSet.
        """
        ontology.ids_of(self.labels)

    def save_pretrained(self, folder: str | Path) -> None:
        """Write the checkpoint into `folder`, from which `load` reads it."""
        checkpoint.save(self.checkpoint, Path(folder))

    def push_to_hub(self, repo_id: str, private: bool = False) -> str:
        """Upload the checkpoint to the Hugging Face hub as "owner/name"; returns its address.

        Raises:
            CheckpointError: the hub does not take it.
        """
        return hub.upload(self.save_pretrained, repo_id, private)

    def _prepare(self, waveform: Waveform, sample_rate: int) -> Tensor:
        return to_mono(waveform, sample_rate, self.sample_rate)

    def _heard(self, waveform: Tensor, scores: Tensor) -> Segment:
        """A prepared waveform, however long, as one segment."""
        pieces = windows.split([waveform], self._window_samples)
        loudest = max(recognition.level(piece.waveform) for piece in pieces)
        return Segment(0.0, len(waveform) / self.sample_rate, scores, loudest)

    def _prepare_all(self, waveforms: list[Waveform], sample_rate: int) -> list[Tensor]:
        prepared = []
        for index, waveform in enumerate(waveforms):
            try:
                prepared.append(self._prepare(waveform, sample_rate))
                self._check_length(prepared[-1])
            except AudioError as error:
                raise AudioError(f"waveform {index}: {error}") from error
        return prepared

    def _check_length(self, waveform: Tensor) -> None:
        shortest = self._shortest_samples
        if len(waveform) < shortest:
            raise AudioError(
                f"the sound lasts {1000 * len(waveform) / self.sample_rate:.0f} ms; this model "
                f"needs at least {1000 * shortest / self.sample_rate:.0f} ms."
            )

    def _run_all(
        self, waveforms: list[Tensor], scorer: Scorer, join: Callable[[Iterable[Tensor]], Tensor]
    ) -> Tensor:
        """Cut all waveforms into windows, run them in batches, and join each waveform's rows."""
        if not waveforms:
            return torch.empty(0, 0)
        pieces = [self._sounding(waveform) for waveform in waveforms]
        flat = (window for windows_of_one in pieces for window in windows_of_one)
        batches = windows.in_batches(flat, MAX_BATCH_SAMPLES)
        rows = torch.cat([self._run(batch, scorer) for batch in batches])
        return torch.stack([join([part]) for part in rows.split([len(p) for p in pieces])])

    def _sounding(self, waveform: Tensor) -> list[Window]:
        """The windows of a waveform that are not silent, or all where every one is: see `whole`."""
        pieces = list(windows.split([waveform], self._window_samples))
        return [each for each in pieces if not recognition.is_silent(each.waveform)] or pieces

    @torch.no_grad()  # not inference_mode: people train probes on embeddings
    def _run(self, batch: list[Window], scorer: Scorer) -> Tensor:
        for window in batch:
            self._check_length(window.waveform)
        waveforms, lengths = audio.pad_batch([window.waveform for window in batch])
        return scorer(waveforms.to(self.device), lengths.to(self.device)).float().cpu()


def check_top(top: int) -> None:
    """Refuse a number of labels below 1 before any sound is opened.

    Raises:
        ConfigError: `top` is below 1.
    """
    if top < 1:
        raise ConfigError(f"top is the number of labels to give, at least 1, got {top}.")
