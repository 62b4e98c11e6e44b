"""The Classifier: sound in, labels out, nothing cut."""

import io

import numpy as np
import pytest
import soundfile
import torch

import auricle
from auricle import audio, checkpoint
from auricle.errors import AudioError, CheckpointError, ConfigError
from auricle.features import FbankConfig
from auricle.inference import Classifier, Prediction, engine

RATE = 16_000


@pytest.fixture(scope="module")
def classifier(tiny_model) -> Classifier:
    return Classifier.load(tiny_model, device="cpu")


@pytest.fixture
def noise() -> torch.Tensor:
    """Seven seconds: silence, noise, a rising tone; so that windows differ."""
    noise = 0.3 * torch.randn(2 * RATE, generator=torch.Generator().manual_seed(0))
    seconds = torch.arange(3 * RATE) / RATE
    tone = 0.5 * torch.sin(2 * torch.pi * (100 + 1000 * seconds) * seconds)
    return torch.cat([torch.zeros(2 * RATE), noise, tone])


@pytest.fixture
def noise_file(tmp_path, noise):
    path = tmp_path / "noise.wav"
    soundfile.write(path, noise.numpy(), RATE, subtype="FLOAT")
    return path


def scores_of(predictions: list[Prediction]) -> dict[str, float]:
    return {prediction.label: prediction.score for prediction in predictions}


def test_it_says_what_it_hears_and_knows(classifier, tiny_model):
    assert classifier.labels == ["dog", "cat", "rain", "sea"]
    assert classifier.sample_rate == RATE
    assert classifier.window_seconds == pytest.approx((400 + 199 * 160 + 159) / RATE)
    assert auricle.Classifier is Classifier
    assert {"Classifier", "load_model", "__version__"} <= set(dir(auricle))
    assert Classifier.from_pretrained(tiny_model, device="cpu").labels == classifier.labels


def test_predictions_are_the_checkpoints_scores_best_first(classifier, tiny_model, tone):
    [scores] = checkpoint.load(tiny_model).score(tone[None]).detach()
    predictions = classifier.classify(tone, RATE)
    assert [prediction.label for prediction in predictions] == [
        classifier.labels[index] for index in scores.argsort(descending=True)
    ]
    assert [prediction.score for prediction in predictions] == pytest.approx(
        scores.sort(descending=True).values.tolist()
    )


def test_top_limits_and_is_clipped_to_the_classes(classifier, tone):
    everything = classifier.classify(tone, RATE, top=99)
    assert len(everything) == 4
    assert classifier.classify(tone, RATE, top=2) == everything[:2]


def test_a_file_its_bytes_an_open_file_and_its_samples_agree(classifier, noise, noise_file):
    expected = classifier.classify(noise, RATE)
    assert classifier.classify_file(noise_file) == expected
    assert classifier.classify_file(str(noise_file)) == expected
    content = noise_file.read_bytes()
    for kind in (bytes, bytearray, memoryview):
        assert classifier.classify_file(kind(content)) == expected
    with noise_file.open("rb") as file:
        assert classifier.classify_file(file) == expected


def test_streaming_gives_the_scores_of_the_whole_recording(classifier, noise_file, monkeypatch):
    in_memory = classifier.score_waveforms([audio.load(noise_file, RATE)])[0]
    stream = audio.blocks
    monkeypatch.setattr(audio, "blocks", lambda source, rate: stream(source, rate, 0.7))
    torch.testing.assert_close(classifier.score_file(noise_file), in_memory, atol=1e-5, rtol=0)


@pytest.mark.parametrize("aggregation", ["mean", "max"])
def test_a_long_recording_is_the_aggregate_of_its_windows(tiny_model, noise, aggregation):
    classifier = Classifier.load(tiny_model, device="cpu", aggregation=aggregation)
    sound = noise[2 * RATE :]  # without the pause, which is left out of windows
    length = 400 + 199 * 160 + 159
    starts = [*range(0, len(sound) - length, length // 2), len(sound) - length]
    parts = torch.stack([sound[start : start + length] for start in starts])
    scores = classifier.checkpoint.score(parts).detach()
    expected = scores.mean(dim=0) if aggregation == "mean" else scores.amax(dim=0)
    assert scores.std(dim=0).max() > 0.005  # or the test could not tell one from another
    torch.testing.assert_close(classifier.score_waveforms([sound])[0], expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("aggregation", ["mean", "max"])
def test_pauses_have_no_part_in_a_recordings_scores(tiny_model, noise, tmp_path, aggregation):
    classifier = Classifier.load(tiny_model, device="cpu", aggregation=aggregation)
    length = 400 + 199 * 160 + 159  # of a window
    pause = torch.zeros(8 * (length // 2))
    with_pauses = torch.cat([pause, noise, torch.zeros_like(pause)])
    path = tmp_path / "pauses.wav"
    soundfile.write(path, with_pauses.numpy(), RATE, subtype="FLOAT")
    segments = list(classifier.segments(path))
    sounding = torch.stack([each.values for each in segments if each.level > -70])
    assert 3 < len(sounding) < len(segments) / 2
    join = {"mean": lambda rows: rows.mean(dim=0), "max": lambda rows: rows.amax(dim=0)}
    expected = join[aggregation](sounding)
    for found in (
        classifier.score_file(path),
        classifier.score_waveforms([with_pauses])[0],
        classifier.whole(segments).values,
    ):
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)


def test_a_silent_recording_has_the_scores_of_all_its_windows(classifier, tmp_path):
    path = tmp_path / "zeros.wav"
    soundfile.write(path, np.zeros(7 * RATE), RATE)
    rows = torch.stack([segment.values for segment in classifier.segments(path)])
    assert len(rows) > 1
    torch.testing.assert_close(classifier.score_file(path), rows.mean(dim=0), atol=1e-5, rtol=0)


def test_the_end_of_a_long_recording_is_heard(classifier, noise):
    changed = noise.clone()
    changed[-1600:] = 0.9
    assert classifier.classify(changed, RATE) != classifier.classify(noise, RATE)


def test_segments_cover_the_recording_in_seconds(classifier, noise_file):
    segments = list(classifier.segments(noise_file))
    assert segments[0].start == 0
    assert segments[-1].end == 7.0
    assert all(
        after.start < before.end for before, after in zip(segments, segments[1:], strict=False)
    )
    assert {segment.values.shape for segment in segments} == {(4,)}


def test_a_list_is_answered_as_each_of_it_alone(classifier, noise):
    clips = [noise[: RATE // 2], noise, noise[: 2 * RATE], noise[:800]]  # 0.5 s, 7 s, 2 s, 50 ms
    together = classifier.classify(clips, RATE)
    assert len(together) == 4
    for clip, predictions in zip(clips, together, strict=True):
        alone = scores_of(classifier.classify(clip, RATE))
        assert scores_of(predictions) == pytest.approx(alone, abs=5e-5)


def test_an_empty_list_has_no_answers(classifier):
    assert classifier.classify([], RATE) == []
    assert len(classifier.embed([], RATE)) == 0


def test_an_embedding_is_what_the_head_reads(classifier, noise):
    clip = noise[:RATE]
    embedding = classifier.embed(clip, RATE)
    assert embedding.shape == (16,)
    logits = classifier.checkpoint.model.head(embedding[None])
    torch.testing.assert_close(
        logits.softmax(dim=1)[0].detach(), classifier.score_waveforms([clip])[0]
    )
    batch = classifier.embed([clip, noise], RATE)
    torch.testing.assert_close(batch[0], embedding, atol=5e-5, rtol=0)
    torch.testing.assert_close(batch[1], classifier.embed(noise, RATE), atol=5e-5, rtol=0)


def test_a_file_is_embedded_as_its_samples_are(classifier, noise, noise_file):
    expected = classifier.embed(noise, RATE)
    torch.testing.assert_close(classifier.embed_file(noise_file), expected, atol=1e-5, rtol=0)


def test_a_probe_can_be_trained_on_embeddings(classifier, tone):
    probe = torch.nn.Linear(16, 2)
    probe(classifier.embed([tone, 0.1 * tone], RATE)).sum().backward()
    assert probe.weight.grad.abs().sum() > 0


def test_other_rates_channels_and_int16_are_the_same_sound(classifier, tone):
    expected = scores_of(classifier.classify(tone, RATE))
    stereo = np.stack([tone.numpy(), tone.numpy()])
    assert scores_of(classifier.classify(stereo, RATE)) == pytest.approx(expected)
    int16 = (tone * 32_768).round().short()
    assert scores_of(classifier.classify(int16, RATE)) == pytest.approx(expected, abs=1e-2)
    fast = audio.resample(tone, RATE, 44_100)
    assert scores_of(classifier.classify(fast, 44_100)) == pytest.approx(expected, abs=3e-2)


def test_silence_and_clipping_are_answered(classifier):
    for waveform in (torch.zeros(RATE), torch.ones(RATE), -torch.ones(RATE)):
        scores = scores_of(classifier.classify(waveform, RATE))
        assert sum(scores.values()) == pytest.approx(1.0)


def test_a_clip_shorter_than_a_frame_is_refused(classifier, tmp_path):
    message = "the sound lasts 20 ms; this model needs at least 25 ms."
    with pytest.raises(AudioError) as caught:
        classifier.classify(torch.zeros(320), RATE)
    assert str(caught.value) == message
    buffer = io.BytesIO()
    soundfile.write(buffer, np.zeros(320), RATE, format="WAV")
    with pytest.raises(AudioError) as caught:
        classifier.classify_file(buffer.getvalue())
    assert str(caught.value) == message


def test_in_a_list_the_bad_waveform_is_numbered(classifier, tone):
    with pytest.raises(AudioError) as caught:
        classifier.classify([tone, tone[:100]], RATE)
    assert str(caught.value) == (
        "waveform 1: the sound lasts 6 ms; this model needs at least 25 ms."
    )
    with pytest.raises(AudioError) as caught:
        classifier.embed([tone * torch.nan], RATE)
    assert str(caught.value) == (
        "waveform 0: the waveform holds NaN or infinite samples. Export it again without them."
    )


def test_what_is_no_waveform_is_led_to_where_it_belongs(classifier, tone):
    expected = "expected a waveform as a numpy array or a torch tensor, got "
    with pytest.raises(AudioError) as caught:
        classifier.classify("dog.wav", RATE)
    assert str(caught.value) == f"{expected}str. A file is given to classify_file."
    for samples, kind in ((tone[:1000].tolist(), "float"), ([tone[:9].tolist()] * 2, "list")):
        with pytest.raises(AudioError) as caught:
            classifier.classify(samples, RATE)
        assert str(caught.value) == (
            f"waveform 0: {expected}{kind}. Samples are passed as numpy.array(samples), several "
            "waveforms as a list of these."
        )


def test_a_tuple_of_waveforms_is_answered_as_a_list_of_them(classifier, tone):
    assert classifier.classify((tone, tone), RATE) == classifier.classify([tone, tone], RATE)


def test_top_below_1_is_refused_before_the_file_is_opened(classifier, tone):
    message = "top is the number of labels to give, at least 1, got 0."
    with pytest.raises(ConfigError) as caught:
        classifier.classify_file("absent.wav", top=0)
    assert str(caught.value) == message
    with pytest.raises(ConfigError) as caught:
        classifier.classify(tone, RATE, top=0)
    assert str(caught.value) == message


def test_an_unknown_aggregation_is_refused(tiny_model):
    with pytest.raises(ConfigError) as caught:
        Classifier.load(tiny_model, aggregation="median")
    assert (
        str(caught.value) == "unknown aggregation 'median'. Did you mean 'mean'? Known: max, mean."
    )


def test_a_checkpoint_without_labels_is_refused():
    settings = {"width": 8, "depth": 1, "num_heads": 1, "max_frames": 32}
    start = checkpoint.create("ast", settings, FbankConfig(num_mels=16), [], "sigmoid")
    with pytest.raises(CheckpointError) as caught:
        Classifier(start)
    assert str(caught.value) == (
        "the checkpoint has no labels: it is a start for training, not a classifier. Train it "
        "first, or choose another model."
    )


def test_what_was_saved_answers_the_same(classifier, noise, tmp_path):
    classifier.save_pretrained(tmp_path / "copy")
    copy = Classifier.load(tmp_path / "copy", device="cpu")
    assert copy.classify(noise, RATE) == classifier.classify(noise, RATE)


@pytest.mark.gpu
def test_the_accelerator_gives_the_scores_of_the_processor(classifier, tiny_model, noise):
    on_device = Classifier.load(tiny_model, device="cuda").score_waveforms([noise])
    expected = classifier.score_waveforms([noise])
    torch.testing.assert_close(on_device, expected, atol=1e-4, rtol=0)


def test_windows_of_a_fixed_length_model_are_that_long(tone):
    settings = {"width": 8, "depth": 1, "num_heads": 1, "max_frames": 100}
    front_end = FbankConfig.model_validate(
        {"num_mels": 32, "padding": {"mode": "fixed", "frames": 50}}
    )
    fixed = Classifier(
        checkpoint.create("ast", settings, front_end, ["a", "b"], "sigmoid"), device="cpu"
    )
    assert fixed.window_seconds == (400 + 49 * 160 + 159) / RATE
    late = torch.cat([torch.zeros(RATE), tone])  # the tone begins after the first two windows
    assert fixed.classify(late, RATE) != fixed.classify(torch.zeros(2 * RATE), RATE)
    assert engine.longest_frames(fixed.checkpoint) == 50
