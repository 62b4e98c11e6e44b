"""From clips to batches: targets, crops, and what they must not depend on."""

from pathlib import Path

import pytest
import soundfile
import torch
from torch.utils.data import DataLoader

from auricle import audio
from auricle.data import (
    Batch,
    Clip,
    ClipDataset,
    Fault,
    Manifest,
    collate,
    durations,
    read,
    save_soft_targets,
)
from auricle.data.batching import sounding_starts
from auricle.errors import AudioError, AudioWarning, DataError

SAMPLE_RATE = 8000


def ramp(num_samples):
    """Every sample of its own value, so that a crop says where it was taken."""
    return (torch.arange(num_samples) + 1000) / 32768


@pytest.fixture
def manifest(tmp_path):
    """Eight clips of 0.5, 1.0, ... 4.0 seconds, labelled a, b, a, b ..."""
    lines = ["path,labels"]
    for index in range(8):
        name = f"{index}.wav"
        soundfile.write(tmp_path / name, ramp((index + 1) * 4000).numpy(), SAMPLE_RATE, "FLOAT")
        lines.append(f"{name},{'ab'[index % 2]}")
    (tmp_path / "m.csv").write_text("\n".join(lines))
    return read(tmp_path / "m.csv")


def test_whole_clips_come_with_ones_at_their_labels(manifest):
    dataset = ClipDataset(manifest, ["b", "c", "a"], SAMPLE_RATE)
    assert len(dataset) == 8
    waveform, target = dataset[7]
    torch.testing.assert_close(waveform, ramp(32_000), atol=1e-6, rtol=0)
    assert target.tolist() == [1.0, 0.0, 0.0]
    assert dataset[0][1].tolist() == [0.0, 0.0, 1.0]


def test_several_labels_give_several_ones(manifest):
    clip = Clip(manifest.clips[0].path, ("a", "c"))
    dataset = ClipDataset(Manifest(manifest.source, (clip,)), ["a", "b", "c"], SAMPLE_RATE)
    assert dataset[0][1].tolist() == [1.0, 0.0, 1.0]


def test_clips_arrive_at_the_wanted_sample_rate(manifest):
    waveform, _ = ClipDataset(manifest, ["a", "b"], 16_000)[1]
    assert waveform.shape == (16_000,)


def test_collate_pads_with_zeros_and_says_the_lengths(manifest):
    dataset = ClipDataset(manifest, ["a", "b"], SAMPLE_RATE)
    waveforms, lengths, targets, *_ = collate([dataset[1], dataset[0]])
    assert waveforms.shape == (2, 8000)
    assert lengths.tolist() == [8000, 4000]
    assert targets.tolist() == [[0.0, 1.0], [1.0, 0.0]]
    assert waveforms[1, :4000].all() and not waveforms[1, 4000:].any()


# Soft targets


def with_soft_targets(manifest, path, rows):
    clips = (
        Clip(clip.path, clip.labels, soft_targets=(path, row) if row is not None else None)
        for clip, row in zip(manifest.clips, rows, strict=False)
    )
    return Manifest(manifest.source, tuple(clips))


def test_soft_targets_take_the_place_of_labels_in_the_order_of_the_labels(manifest, tmp_path):
    path = tmp_path / "t.safetensors"
    save_soft_targets(path, torch.tensor([[0.25, 0.5, 1.0], [0.75, 0.0, 0.125]]), ["b", "x", "a"])
    soft = with_soft_targets(manifest, path, [1, None, 0])
    targets = [target for _, target in ClipDataset(soft, ["a", "b"], SAMPLE_RATE)]
    assert torch.stack(targets).tolist() == [[0.125, 0.75], [0.0, 1.0], [1.0, 0.25]]
    assert targets[0].dtype == torch.float32


def test_soft_targets_are_read_once(manifest, tmp_path):
    path = tmp_path / "t.safetensors"
    save_soft_targets(path, torch.ones(8, 2), ["a", "b"])
    dataset = ClipDataset(with_soft_targets(manifest, path, range(8)), ["a", "b"], SAMPLE_RATE)
    path.unlink()
    assert dataset[5][1].tolist() == [1.0, 1.0]


def test_soft_targets_that_lack_a_label_are_refused(manifest, tmp_path):
    path = tmp_path / "t.safetensors"
    save_soft_targets(path, torch.ones(1, 2), ["a", "bat"])
    with pytest.raises(DataError) as caught:
        ClipDataset(with_soft_targets(manifest, path, [0]), ["a", "b"], SAMPLE_RATE)
    assert str(caught.value) == f"{path}: unknown label 'b'. Known: a, bat."


def test_a_label_that_the_model_does_not_have_is_refused(manifest):
    with pytest.raises(DataError) as caught:
        ClipDataset(manifest, ["a", "c"], SAMPLE_RATE)
    assert str(caught.value) == f"{manifest.source}, line 3: unknown label 'b'. Known: a, c."


def test_without_labels_there_is_nothing_to_learn(manifest):
    with pytest.raises(DataError) as caught:
        ClipDataset(manifest, [], SAMPLE_RATE)
    assert str(caught.value) == f"{manifest.source}: there are no labels to train or score."


def test_a_clip_that_is_no_sound_is_named(tmp_path):
    (tmp_path / "a.wav").write_text("not a sound")
    clip = Clip(tmp_path / "a.wav", ("a",))
    with pytest.raises(AudioError, match=r"a\.wav"):
        ClipDataset(Manifest(Path("m.csv"), (clip,)), ["a"], SAMPLE_RATE)[0]


# Clips that cannot be read


@pytest.fixture
def damaged(manifest):
    """The manifest, its clips 0, 4 and 5 no longer sounds."""
    for index in (0, 4, 5):
        manifest.clips[index].path.write_text("not a sound")
    return manifest


def fault_of(clip):
    return Fault(
        str(clip.path),
        f"{clip.path}: is not a sound file that can be read, whatever its name says. "
        "Give WAV, FLAC, Ogg, MP3 or another format of libsndfile, M4A, MP4, AAC or WebM.",
    )


def test_a_faulty_clip_is_given_as_such_where_it_may_be(damaged):
    assert ClipDataset(damaged, ["a", "b"], SAMPLE_RATE, skip_faulty=True)[4] == (
        fault_of(damaged.clips[4])
    )
    with pytest.raises(AudioError):
        ClipDataset(damaged, ["a", "b"], SAMPLE_RATE)[4]


@pytest.mark.parametrize("workers", [0, 2])
def test_a_batch_goes_without_its_faulty_clips_and_says_which(damaged, workers):
    dataset = ClipDataset(damaged, ["a", "b"], SAMPLE_RATE, skip_faulty=True)
    loader = DataLoader(dataset, 4, num_workers=workers, collate_fn=collate)
    first, second = loader
    assert first.lengths.tolist() == [8000, 12_000, 16_000]
    assert first.targets.tolist() == [[0.0, 1.0], [1.0, 0.0], [0.0, 1.0]]
    assert first.faults == (fault_of(damaged.clips[0]),)
    assert second.lengths.tolist() == [28_000, 32_000]
    assert second.faults == (fault_of(damaged.clips[4]), fault_of(damaged.clips[5]))


def test_a_batch_of_faulty_clips_alone_is_empty(damaged):
    dataset = ClipDataset(damaged, ["a", "b"], SAMPLE_RATE, skip_faulty=True)
    batch = collate([dataset[4], dataset[5]])
    assert [len(part) for part in batch[:4]] == [0, 0, 0, 2]
    assert batch.waveforms.shape == (0, 0)


def test_a_fault_changes_no_crop_of_another_clip(damaged):
    order = [1, 4, 7]
    dataset = ClipDataset(damaged, ["a", "b"], SAMPLE_RATE, 0.25, skip_faulty=True)
    batch = collate([dataset[index] for index in order])
    alone = collate([dataset[7]])
    assert torch.equal(batch.waveforms[1], alone.waveforms[0])


def test_a_batch_with_faults_can_be_moved(damaged):
    """As lightning does it, part by part."""
    apply = pytest.importorskip("lightning_utilities.core.apply_func").apply_to_collection
    dataset = ClipDataset(damaged, ["a", "b"], SAMPLE_RATE, skip_faulty=True)
    batch = collate([dataset[3], dataset[4]])
    moved = apply(batch, torch.Tensor, lambda tensor: tensor.double())
    assert isinstance(moved, Batch) and moved.faults == batch.faults
    assert moved.waveforms.dtype == torch.float64


# Crops


def starts_of(dataset):
    """Where the crop of each clip of `ramp`s begins, in samples."""
    return [round(float(waveform[0]) * 32768) - 1000 for waveform, _ in dataset]


def test_longer_clips_are_cropped_and_shorter_ones_stay(manifest):
    dataset = ClipDataset(manifest, ["a", "b"], SAMPLE_RATE, crop_seconds=1.25)
    assert [len(waveform) for waveform, _ in dataset] == [4000, 8000, *[10_000] * 6]
    for (waveform, _), start in zip(dataset, starts_of(dataset), strict=True):
        torch.testing.assert_close(
            waveform, ramp(40_000)[start : start + len(waveform)], atol=1e-6, rtol=0
        )


def test_a_crop_depends_on_seed_epoch_and_index(manifest):
    clips = Manifest(manifest.source, tuple(manifest.clips[7:]) * 4)

    def starts(seed, epoch):
        dataset = ClipDataset(clips, ["a", "b"], SAMPLE_RATE, crop_seconds=0.5, seed=seed)
        dataset.set_epoch(epoch)
        return starts_of(dataset)

    first = starts(0, 0)
    assert len(set(first)) == 4
    assert starts(0, 0) == first
    assert not set(starts(0, 1)) & set(first)
    assert not set(starts(1, 0)) & set(first)


def test_crops_reach_every_part_of_a_clip(manifest):
    clips = Manifest(manifest.source, tuple(manifest.clips[7:]) * 60)
    starts = starts_of(ClipDataset(clips, ["a", "b"], SAMPLE_RATE, crop_seconds=1.0))
    assert min(starts) < 2400 and max(starts) > 21_600
    assert max(starts) <= 24_000


@pytest.mark.parametrize("persistent", [False, True])
def test_workers_change_no_crop(manifest, persistent):
    """Not in number, and not by outliving the epoch in which they started."""
    dataset = ClipDataset(manifest, ["a", "b"], SAMPLE_RATE, crop_seconds=0.5)
    workers = {"num_workers": 2, "persistent_workers": persistent}
    loaders = [DataLoader(dataset, 3, collate_fn=collate, **settings) for settings in ({}, workers)]
    for epoch in range(2):
        dataset.set_epoch(epoch)
        for one, two in zip(*loaders, strict=True):
            assert all(torch.equal(a, b) for a, b in zip(one[:3], two[:3], strict=True))


def test_any_crop_of_a_sound_without_silence_will_do():
    assert sounding_starts(ramp(100), 40).tolist() == list(range(61))


def test_any_crop_of_digital_silence_will_do():
    assert sounding_starts(torch.zeros(100), 40).tolist() == list(range(61))


@pytest.mark.parametrize("level", [1.0, 1e-3])
def test_a_crop_holds_half_of_a_short_sound_at_least(level):
    waveform = torch.zeros(1000)
    waveform[600:620] = level  # shorter than the crop
    assert sounding_starts(waveform, 100).tolist() == list(range(510, 611))


def test_a_crop_is_half_sound_at_least_where_it_can_be():
    waveform = torch.zeros(1000)
    waveform[:200] = waveform[600:900] = 1.0  # longer than the crop, silence between
    starts = sounding_starts(waveform, 100).tolist()
    assert starts == [*range(151), *range(550, 851)]


def test_the_dither_of_a_padded_clip_is_not_sound():
    waveform = torch.full((1000,), 1 / 32768)
    waveform[:100] = 1.0
    assert max(sounding_starts(waveform, 100).tolist()) == 50


def read_recording(tmp_path, samples, labels=None, subtype="FLOAT", name="long.wav"):
    """A data set of crops of 2 s of one recording."""
    soundfile.write(tmp_path / name, samples, SAMPLE_RATE, subtype)
    clip = Clip(tmp_path / name, ("a",) if labels else ())
    return ClipDataset(Manifest(tmp_path, (clip,)), labels, SAMPLE_RATE, 2.0)


def test_of_a_long_recording_without_labels_only_the_crop_is_decoded(tmp_path, monkeypatch):
    samples = torch.arange(90 * SAMPLE_RATE) / (90 * SAMPLE_RATE)
    dataset = read_recording(tmp_path, samples.numpy())

    def whole(*args):
        raise AssertionError("all of it")

    monkeypatch.setattr("auricle.audio.load", whole)
    starts = []
    for draw in range(40):  # of the one clip
        waveform, target = dataset[draw]
        assert (waveform.shape, target.shape) == ((2 * SAMPLE_RATE,), (0,))
        torch.testing.assert_close(
            waveform.diff(), samples.diff()[: len(waveform) - 1], atol=1e-6, rtol=0
        )
        starts.append(90 * waveform[0].item())
    assert min(starts) < 20 and max(starts) > 68 and len(set(starts)) == 40
    dataset.set_epoch(1)
    assert 90 * dataset[0][0][0].item() != starts[0]


def test_what_is_cut_short_gives_crops_of_what_there_is(tmp_path):
    """Its header promises 90 s; 54 s can be read."""
    random = torch.Generator().manual_seed(0)
    noise = 0.1 * torch.randn(90 * SAMPLE_RATE, generator=random)
    dataset = read_recording(tmp_path, noise.numpy(), subtype="PCM_16", name="long.flac")
    content = (tmp_path / "long.flac").read_bytes()
    (tmp_path / "long.flac").write_bytes(content[: len(content) * 6 // 10])
    with pytest.warns(AudioWarning, match="is cut short or damaged"):
        crops = [dataset[draw][0] for draw in range(12)]
    assert {len(crop) for crop in crops} == {2 * SAMPLE_RATE}


def test_a_length_that_is_only_an_estimate_is_not_believed(tmp_path):
    """FFmpeg takes an AAC stream that begins silently for one of half an hour."""
    av = pytest.importorskip("av")
    quiet, loud = torch.zeros(1, 60 * 16_000), 0.3 * torch.randn(1, 10 * 16_000)
    samples = torch.cat([quiet, loud], dim=1).numpy()
    with av.open(tmp_path / "long.aac", "w", format="adts") as file:
        track = file.add_stream("aac", rate=16_000, layout="mono")
        frame = av.AudioFrame.from_ndarray(samples, format="fltp", layout="mono")
        frame.sample_rate = 16_000
        convert = av.AudioResampler(format=track.format, layout="mono", rate=16_000)
        for part in [*convert.resample(frame), None]:
            file.mux(track.encode(part))
    assert not 60 < audio.probe(tmp_path / "long.aac").duration < 80
    clip = Clip(tmp_path / "long.aac", ())
    dataset = ClipDataset(Manifest(tmp_path, (clip,)), None, SAMPLE_RATE, 2.0)
    assert [len(dataset[draw][0]) for draw in range(4)] == [2 * SAMPLE_RATE] * 4
    assert durations([clip]).item() == pytest.approx(70, abs=0.5)


def test_a_silent_part_of_a_long_recording_is_drawn_again(tmp_path):
    samples = torch.zeros(100 * SAMPLE_RATE)
    samples[50 * SAMPLE_RATE :] = 0.1
    dataset = read_recording(tmp_path, samples.numpy())
    sounding = sum(dataset[draw][0].abs().max().item() > 0 for draw in range(32))
    assert sounding >= 27  # of four draws one sounds, in 15 of 16 clips


def test_a_long_recording_with_labels_is_looked_through(tmp_path):
    samples = torch.zeros(100 * SAMPLE_RATE)
    samples[80 * SAMPLE_RATE :] = 0.1
    dataset = read_recording(tmp_path, samples.numpy(), ["a", "b"])
    assert all(dataset[draw][0].abs().max().item() > 0 for draw in range(32))


def test_a_further_draw_of_a_clip_is_a_crop_of_its_own(manifest):
    dataset = ClipDataset(manifest, ["a", "b"], SAMPLE_RATE, crop_seconds=0.5)
    starts = {dataset[7 + 8 * draw][0][0].item() for draw in range(10)}
    assert len(starts) > 5
    assert dataset[7 + 8][1].tolist() == dataset[7][1].tolist()
