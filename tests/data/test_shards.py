"""Shards: what is packed, read again, and refused."""

import json
import resource
import subprocess
import tarfile
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from torch.utils.data import DataLoader

from auricle import audio
from auricle.data import Clip, ClipDataset, Manifest, Span, collate, read, save_soft_targets, write
from auricle.data.shards import pack
from auricle.errors import AudioError, DataError, DataWarning

RATE = 16_000


def noise(seed, seconds=0.5, rate=RATE):
    return 0.3 * np.random.default_rng(seed).standard_normal(round(seconds * rate))


@pytest.fixture
def manifest(tmp_path):
    """Five clips: WAV, FLAC, stereo Ogg, 44.1 kHz WAV and MP3, with all that a row can tell."""
    folder = tmp_path / "data set"
    (folder / "in").mkdir(parents=True)
    soundfile.write(folder / "0.wav", noise(0), RATE)
    soundfile.write(folder / "in" / "1.flac", noise(1), RATE)
    soundfile.write(folder / "2.ogg", np.stack([noise(2), noise(3)], axis=1), RATE)
    soundfile.write(folder / "3 \u00e9.wav", noise(4, rate=44_100), 44_100)
    soundfile.write(folder / "4.mp3", noise(5), RATE)
    save_soft_targets(folder / "t.safetensors", torch.rand(2, 2), ["a", "b"])
    lines = [
        "path,labels,split,fold,group,soft_targets",
        "0.wav,a;b,train,1,farm,t.safetensors:1",
        "in/1.flac,b,test,2,,",
        "2.ogg,a,train,,,",
        "3 \u00e9.wav,b,,,,",
        "4.mp3,b,train,,,",
    ]
    (folder / "m.csv").write_text("\n".join(lines), encoding="utf-8")
    return read(folder / "m.csv")


def refusal(function, *arguments):
    with pytest.raises(DataError) as caught:
        function(*arguments)
    return str(caught.value)


def known(clip):
    """What a clip is, but for its place."""
    soft = clip.soft_targets and (clip.soft_targets[0].name, clip.soft_targets[1])
    return clip.labels, clip.split, clip.fold, clip.group, soft


def test_unlabelled_clips_are_packed_and_read_again(tmp_path, manifest):
    source = manifest.source.with_name("unlabelled.csv")
    source.write_text("path,split\n0.wav,train\n2.ogg,train\n")
    folder = tmp_path / "shards"
    pack(read(source, labelled=False), folder, RATE)
    clips = read(folder, labelled=False).clips
    assert [(clip.labels, clip.split) for clip in clips] == [((), "train")] * 2
    assert all(clip.span is not None for clip in clips)


def test_a_folder_of_shards_is_read_like_any_manifest(manifest, tmp_path):
    folder = tmp_path / "new" / "shards"
    assert pack(manifest, folder, RATE, 2) == [folder / f"00000{n}.tar" for n in range(3)]
    packed = read(folder)
    assert list(map(known, packed.clips)) == list(map(known, manifest.clips))
    assert packed.clips[0].soft_targets[0].samefile(manifest.clips[0].soft_targets[0])
    assert packed.clips[2].path == folder / "000001.tar" / "00000002.ogg"
    assert packed.clips[2].where == f"{folder / 'manifest.csv'}, line 4"
    assert packed.select("train").labels == ["a", "b"]


def test_a_packed_clip_is_called_what_it_was_called_before(manifest, tmp_path):
    pack(manifest, tmp_path / "shards", RATE, 2)
    packed = read(tmp_path / "shards")
    write(packed, tmp_path / "other" / "list.csv")
    pack(packed, tmp_path / "again", 8000)
    names = [clip.name_in(manifest.source) for clip in manifest.clips]
    assert names == ["0.wav", "in/1.flac", "2.ogg", "3 \u00e9.wav", "4.mp3"]
    for source in (tmp_path / "shards", tmp_path / "other" / "list.csv", tmp_path / "again"):
        assert [clip.name_in(source) for clip in read(source).clips] == names


def test_a_column_source_of_clips_that_are_files_is_nobodys_name(manifest):
    table = manifest.source.with_name("sources.csv")
    table.write_text("path,labels,source\n0.wav,a,freesound\n")
    assert [clip.name_in(table) for clip in read(table).clips] == ["0.wav"]


def test_sounds_from_shards_are_those_of_the_files(manifest, tmp_path):
    pack(manifest, tmp_path / "shards", RATE)
    packed = read(tmp_path / "shards")
    for before, after in zip(manifest.clips, packed.clips, strict=True):
        one, two = audio.load(before.path, RATE), audio.load(after.sound(), RATE)
        torch.testing.assert_close(one, two, atol=2**-15, rtol=0)


def test_what_is_compressed_at_the_wanted_rate_keeps_its_bytes(manifest, tmp_path):
    (shard,) = pack(manifest, tmp_path / "shards", RATE)
    with tarfile.open(shard) as tar:
        contents = {name: tar.extractfile(name).read() for name in tar.getnames()}
    for clip, name in ((1, "00000001.flac"), (2, "00000002.ogg"), (4, "00000004.mp3")):
        assert contents[name] == manifest.clips[clip].path.read_bytes()
    assert contents["00000000.flac"][:4] == contents["00000003.flac"][:4] == b"fLaC"


def test_another_rate_is_packed_at_the_wanted_one(manifest, tmp_path):
    pack(manifest, tmp_path / "shards", 8000)
    for clip in read(tmp_path / "shards").clips:
        assert audio.probe(clip.sound()).sample_rate == 8000


def test_the_layout_is_that_of_webdataset(manifest, tmp_path):
    """Samples follow each other; a key ends at the first point of the name."""
    shards = pack(manifest, tmp_path / "shards", RATE, 4)
    with tarfile.open(shards[0]) as tar:
        names = tar.getnames()
        first = json.load(tar.extractfile("00000000.json"))
        second = json.load(tar.extractfile("00000001.json"))
        accented = json.load(tar.extractfile("00000003.json"))
    keys = [name.partition(".")[0] for name in names]
    assert keys == [key for number in range(4) for key in [f"{number:08d}"] * 2]
    assert {name.partition(".")[2] for name in names} == {"flac", "ogg", "json"}
    assert first == {
        "labels": ["a", "b"],
        "split": "train",
        "fold": 1,
        "group": "farm",
        "source": "0.wav",
    }
    assert (second["source"], second["group"]) == ("in/1.flac", None)
    assert accented["source"] == "3 \u00e9.wav"


def test_standard_tar_lists_a_shard(manifest, tmp_path):
    shards = pack(manifest, tmp_path / "shards", RATE, 4)
    listed = subprocess.run(["tar", "-tf", shards[1]], capture_output=True, text=True, check=True)
    assert listed.stdout.split() == ["00000004.mp3", "00000004.json"]


def test_the_same_clips_give_the_same_bytes(manifest, tmp_path):
    one = pack(manifest, tmp_path / "one", RATE)
    two = pack(manifest, tmp_path / "two", RATE)
    assert [path.read_bytes() for path in one] == [path.read_bytes() for path in two]


def test_training_reads_shards_in_any_order_from_several_processes(manifest, tmp_path):
    pack(manifest, tmp_path / "shards", RATE, 2)
    dataset = ClipDataset(read(tmp_path / "shards"), ["a", "b"], RATE)
    plain = ClipDataset(manifest, ["a", "b"], RATE)
    order = [3, 0, 4, 1, 2]
    loader = DataLoader(dataset, 5, sampler=order, num_workers=2, collate_fn=collate)
    (batch,) = loader
    expected = collate([plain[index] for index in order])
    torch.testing.assert_close(batch.waveforms, expected.waveforms, atol=2**-15, rtol=0)
    assert torch.equal(batch.targets, expected.targets)


def test_shards_are_packed_again_at_another_size(manifest, tmp_path):
    pack(manifest, tmp_path / "one", RATE, 2)
    pack(read(tmp_path / "one"), tmp_path / "two", RATE)
    again = read(tmp_path / "two")
    assert list(map(known, again.clips)) == list(map(known, manifest.clips))
    one = read(tmp_path / "one").clips[2].sound().read()
    assert again.clips[2].sound().read() == one


def test_a_manifest_of_packed_clips_is_written_and_read_again(manifest, tmp_path):
    pack(manifest, tmp_path / "shards", RATE)
    chosen = read(tmp_path / "shards").select("train")
    write(chosen, tmp_path / "train.csv")
    for before, after in zip(chosen.clips, read(tmp_path / "train.csv").clips, strict=True):
        assert after.path.resolve() == before.path.resolve()
        assert after.sound().read() == before.sound().read()


def test_a_shard_may_be_listed_among_files(manifest, tmp_path):
    pack(manifest, tmp_path / "shards", RATE)
    clips = (*manifest.clips, *read(tmp_path / "shards").clips)
    write(Manifest(tmp_path, clips), tmp_path / "both.csv")
    both = read(tmp_path / "both.csv").clips
    assert [clip.span is None for clip in both] == [True] * 5 + [False] * 5


def test_clips_that_cannot_be_read_are_left_out_and_counted(manifest, tmp_path):
    for name in ("0.wav", "in/1.flac"):
        (tmp_path / "data set" / name).write_text("not a sound")
    with pytest.warns(DataWarning) as warned:
        pack(manifest, tmp_path / "shards", RATE)
    reason = (
        "is not a sound file that can be read, whatever its name says. "
        "Give WAV, FLAC, Ogg, MP3 or another format of libsndfile, M4A, MP4, AAC or WebM."
    )
    assert str(warned[0].message) == (
        f"{tmp_path / 'shards'}: 2 of 5 clips cannot be read and are left out: "
        f"{manifest.clips[0].path}: {reason}; {manifest.clips[1].path}: {reason}"
    )
    names = [clip.path.name for clip in read(tmp_path / "shards").clips]
    assert names == ["00000000.ogg", "00000001.flac", "00000002.mp3"]


def test_without_a_clip_that_can_be_read_nothing_is_packed(tmp_path):
    (tmp_path / "0.wav").write_text("not a sound")
    manifest = Manifest(Path("m.csv"), [Clip(tmp_path / "0.wav", ("a",))])
    assert refusal(pack, manifest, tmp_path / "shards", RATE).startswith(
        f"m.csv: none of its 1 clips can be read. The first: {tmp_path / '0.wav'}: is not a sound"
    )
    assert not list((tmp_path / "shards").iterdir())


# Refusals


def test_a_shard_cut_short_is_refused(manifest, tmp_path):
    _, shard, _ = pack(manifest, tmp_path / "shards", RATE, 2)
    size = shard.stat().st_size
    shard.write_bytes(shard.read_bytes()[: size // 2])
    assert refusal(read, tmp_path / "shards") == (
        f"{shard}: has {size // 2} bytes, {size} by {tmp_path / 'shards' / 'shards.json'}: it is "
        "cut short or was changed. Copy it again, or pack its clips again."
    )


def test_a_missing_shard_is_refused(manifest, tmp_path):
    shard, *_ = pack(manifest, tmp_path / "shards", RATE, 2)
    shard.unlink()
    assert refusal(read, tmp_path / "shards") == (
        f"{shard}: cannot be read (No such file or directory). Copy it again."
    )


def test_a_shard_cut_short_after_reading_is_a_faulty_clip(manifest, tmp_path):
    (shard,) = pack(manifest, tmp_path / "shards", RATE)
    packed = read(tmp_path / "shards")
    shard.write_bytes(shard.read_bytes()[:2000])
    with pytest.raises(AudioError) as caught:
        ClipDataset(packed, ["a", "b"], RATE)[4]
    assert str(caught.value) == (f"{packed.clips[4].path}: the shard is cut short. Copy it again.")
    shard.unlink()
    with pytest.raises(AudioError) as caught:
        ClipDataset(packed, ["a", "b"], RATE)[4]
    assert str(caught.value) == f"{shard}: cannot be read (No such file or directory)."


@pytest.mark.parametrize(("offset", "size"), [(10**17, 8), (0, 10**17)])
def test_a_place_beyond_a_shard_takes_no_memory(tmp_path, offset, size):
    (tmp_path / "0.tar").write_bytes(bytes(1000))
    clip = Clip(tmp_path / "0.tar" / "a.flac", (), span=Span(tmp_path / "0.tar", offset, size))
    with pytest.raises(AudioError) as caught:
        clip.sound()
    assert str(caught.value) == f"{clip.path}: the shard is cut short. Copy it again."


def test_a_damaged_sound_in_a_shard_is_named(manifest, tmp_path):
    (shard,) = pack(manifest, tmp_path / "shards", RATE)
    clip = read(tmp_path / "shards").clips[1]
    content = bytearray(shard.read_bytes())
    content[clip.span.offset : clip.span.offset + 100] = bytes(100)
    shard.write_bytes(content)
    with pytest.raises(AudioError) as caught:
        audio.load(clip.sound(), RATE)
    assert str(caught.value).startswith(f"{clip.path}: is not a sound file that can be read")


def test_shards_without_an_index_are_unfinished(manifest, tmp_path):
    pack(manifest, tmp_path / "shards", RATE)
    (tmp_path / "shards" / "shards.json").unlink()
    assert refusal(read, tmp_path / "shards") == (
        f"{tmp_path / 'shards'}: holds shards, but no shards.json: packing or copying them was not "
        "finished. Do it again."
    )
    index = tmp_path / "shards" / "shards.json"
    assert refusal(read, tmp_path / "shards" / "manifest.csv") == (
        f"{index}: cannot be read (No such file or directory). Copy it again."
    )
    index.write_text("[" * 100_000)
    assert refusal(read, tmp_path / "shards") == f"{index}: not an index of shards. Copy it again."
    index.write_text("[]")
    assert refusal(read, tmp_path / "shards") == f"{index}: not an index of shards. Copy it again."


def test_a_place_in_a_shard_is_a_number(manifest, tmp_path):
    pack(manifest, tmp_path / "shards", RATE)
    source = tmp_path / "shards" / "manifest.csv"
    source.write_text("path,labels,shard,offset,size\na.flac,a,000000.tar,512,many\n")
    assert refusal(read, source) == (
        f"{source}, line 2: size must be a number of bytes, got 'many'."
    )


def test_shards_are_not_packed_over_others(manifest, tmp_path):
    pack(manifest, tmp_path / "shards", RATE)
    assert refusal(pack, manifest, tmp_path / "shards", RATE) == (
        f"{tmp_path / 'shards'}: holds 000000.tar already, which packing would write over or mix "
        "with. Choose another folder, or delete the shards there."
    )


def test_shards_are_not_packed_over_the_manifest_of_their_clips(manifest, tmp_path):
    folder = tmp_path / "data set"
    write(manifest, folder / "manifest.csv")
    before = (folder / "manifest.csv").read_text()
    assert refusal(pack, manifest, folder, RATE) == (
        f"{folder}: holds manifest.csv already, which packing would write over or mix with. "
        "Choose another folder, or delete the shards there."
    )
    assert (folder / "manifest.csv").read_text() == before


def test_a_full_disk_is_named_and_leaves_no_shard(manifest, tmp_path):
    folder = tmp_path / "shards"
    soundfile.write(tmp_path / "long.wav", noise(6, seconds=5), RATE)
    both = Manifest(manifest.source, [manifest.clips[0], Clip(tmp_path / "long.wav", ("a",))])
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, before[1]))
    try:
        message = refusal(pack, both, folder, RATE, 1)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert message == (
        f"{folder / '000001.tar'}: cannot be written (File too large). Its shards were taken away "
        "again; free some space or choose another folder, and pack once more."
    )
    assert not list(folder.iterdir())
    pack(both, folder, RATE, 1)
    assert len(read(folder).clips) == 2


def test_an_interruption_leaves_no_shard(manifest, tmp_path, monkeypatch):
    def interrupt(self, clip):
        if clip.labels == ("a",):  # the third
            raise KeyboardInterrupt
        return b"{}"

    monkeypatch.setattr("auricle.data.shards._Packing._description", interrupt)
    with pytest.raises(KeyboardInterrupt):
        pack(manifest, tmp_path / "shards", RATE, 2)
    assert not list((tmp_path / "shards").iterdir())


def test_a_place_that_cannot_be_written_to_is_named(manifest, tmp_path):
    (tmp_path / "file").touch()
    assert refusal(pack, manifest, tmp_path / "file", RATE) == (
        f"{tmp_path / 'file'}: cannot be written to (File exists)."
    )
