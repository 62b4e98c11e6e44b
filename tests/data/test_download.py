"""Archives from a server that breaks off, forgets, damages and moves them."""

import gzip
import hashlib
import io
import resource
import struct
import tarfile
import zipfile
import zlib

import pytest

from auricle.data.download import ARCHIVES, Archive, File, download
from auricle.data.prepare import DATA_SETS
from auricle.data.unpack import unpack
from auricle.errors import DataError, UserError

SOUND = bytes(range(256)) * 1000  # what the archives hold


def zip_of(name="toy/a.wav", content=SOUND):
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_STORED) as file:
        file.writestr(name, content)
    return archive.getvalue()


def tar_of(name="a.wav", content=SOUND):
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w:gz") as file:
        member = tarfile.TarInfo(name)
        member.size = len(content)
        file.addfile(member, io.BytesIO(content))
    return archive.getvalue()


@pytest.fixture
def publish(server, monkeypatch):
    """Puts files on the server, as the one archive of the data set `toy`."""

    def put(files, checksum="sha256", into=""):
        parts = []
        for name, content in files.items():
            server.content[name] = content
            digest = checksum and f"{checksum}:{hashlib.new(checksum, content).hexdigest()}"
            parts.append(File(f"{server.address}/{name}?download=1", len(content), digest))
        monkeypatch.setitem(ARCHIVES, "toy", (Archive(tuple(parts), into),))

    return put


def refusal(folder, name="toy"):
    with pytest.raises(UserError) as caught:
        download(name, folder)
    return str(caught.value)


# What goes well


@pytest.mark.parametrize("checksum", ["sha256", "md5", None])
def test_an_archive_is_fetched_checked_and_unpacked_once(publish, server, tmp_path, checksum):
    publish({"toy.zip": zip_of()}, checksum)
    download("toy", tmp_path)
    assert (tmp_path / "toy" / "a.wav").read_bytes() == SOUND
    assert [path.name for path in (tmp_path / ".archives").iterdir()] == ["toy.zip.unpacked"]
    download("toy", tmp_path)
    assert server.asked == ["all"]


def test_an_archive_without_a_folder_gets_one(publish, tmp_path):
    publish({"toy.tar.gz": tar_of()}, into="test set")
    download("toy", tmp_path / "new" / "folder")
    assert (tmp_path / "new" / "folder" / "test set" / "a.wav").read_bytes() == SOUND


def test_what_breaks_off_is_continued_at_once(publish, server, tmp_path):
    publish({"toy.zip": zip_of()})
    server.cuts = [100_000, 50_000]
    download("toy", tmp_path)
    assert (tmp_path / "toy" / "a.wav").read_bytes() == SOUND
    assert server.asked == ["all", "bytes=100000-", "bytes=150000-"]


def test_what_broke_off_for_good_is_continued_by_the_next_call(publish, server, tmp_path):
    publish({"toy.zip": zip_of()})
    server.cuts = [100_000, *[0] * 20]
    part = tmp_path / ".archives" / "toy.zip.part"
    assert refusal(tmp_path) == (
        f"{server.address}/toy.zip?download=1: cannot be fetched "
        f"(Server disconnected without sending a response). 100000 bytes are kept in {part}: "
        "run the same again to go on from there."
    )
    assert not (tmp_path / "toy").exists()
    server.cuts, server.asked = [], []
    download("toy", tmp_path)
    assert (tmp_path / "toy" / "a.wav").read_bytes() == SOUND
    assert server.asked == ["bytes=100000-"]


def test_a_server_that_ignores_ranges_is_asked_for_everything(publish, server, tmp_path):
    publish({"toy.zip": zip_of()})
    server.knows_ranges, server.cuts = False, [100_000]
    download("toy", tmp_path)
    assert (tmp_path / "toy" / "a.wav").read_bytes() == SOUND


def test_a_part_that_was_whole_is_not_fetched_again(publish, server, tmp_path):
    publish({"toy.zip": zip_of()})
    (tmp_path / ".archives").mkdir()
    (tmp_path / ".archives" / "toy.zip.part").write_bytes(zip_of())
    download("toy", tmp_path)
    assert (tmp_path / "toy" / "a.wav").read_bytes() == SOUND
    assert server.asked == []


def test_a_part_longer_than_the_file_is_fetched_anew(publish, server, tmp_path):
    publish({"toy.zip": zip_of()})
    (tmp_path / ".archives").mkdir()
    (tmp_path / ".archives" / "toy.zip.part").write_bytes(bytes(300_000))
    download("toy", tmp_path)
    assert (tmp_path / "toy" / "a.wav").read_bytes() == SOUND
    assert server.asked == ["bytes=300000-", "all"]


def in_parts(files, part_bytes):
    """A zip in parts, as `zip -s` makes it: places count from the start of their own part."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as whole:
        for name, content in files.items():
            whole.writestr(name, content)
        begin = whole.start_dir
        places = [info.header_offset for info in whole.infolist()]
    content = bytearray(archive.getvalue())
    for place in places:
        entry = content.index(b"PK\x01\x02", begin)
        content[entry + 34 : entry + 36] = (place // part_bytes).to_bytes(2, "little")
        content[entry + 42 : entry + 46] = (place % part_bytes).to_bytes(4, "little")
        begin = entry + 4
    last = whole.start_dir // part_bytes  # the directory stands in the last part
    end = content.rindex(b"PK\x05\x06")
    content[end + 4 : end + 8] = last.to_bytes(2, "little") * 2
    content[end + 16 : end + 20] = (whole.start_dir % part_bytes).to_bytes(4, "little")
    parts = [content[i * part_bytes : (i + 1) * part_bytes] for i in range(last)]
    parts.append(content[last * part_bytes :])
    names = [*(f"toy.z{number:02d}" for number in range(1, last + 1)), "toy.zip"]
    return dict(zip(names, map(bytes, parts), strict=True))


def test_a_zip_in_parts_is_unpacked(publish, tmp_path):
    noise = hashlib.shake_128(b"noise").digest(300_000)
    files = {"toy/a.wav": noise, "toy/deep/b.wav": noise[::-1], "toy/c.txt": b"c" * 1000}
    parts = in_parts(files, 250_000)
    assert len(parts) == 3
    publish(parts)
    download("toy", tmp_path)
    assert {name: (tmp_path / name).read_bytes() for name in files} == files


def test_every_address_is_official_and_named_as_a_data_set():
    assert set(ARCHIVES) <= set(DATA_SETS)
    hosts = ("https://github.com/", "https://storage.googleapis.com/", "https://zenodo.org/")
    lengths = {"md5": 32, "sha256": 64}
    for file in [file for sets in ARCHIVES.values() for each in sets for file in each.files]:
        assert file.url.startswith(hosts)
        assert file.name.endswith((".zip", ".tar.gz", *[f".z0{number}" for number in range(1, 6)]))
        if file.checksum:
            method, _, digest = file.checksum.partition(":")
            assert len(digest) == lengths[method] and int(digest, 16)
            assert file.size


# What is refused


def test_a_damaged_byte_is_refused_and_nothing_is_kept(publish, server, tmp_path):
    publish({"toy.zip": zip_of()})
    damaged = bytearray(server.content["toy.zip"])
    wanted = hashlib.sha256(damaged).hexdigest()
    damaged[70_000] ^= 1
    server.content["toy.zip"] = bytes(damaged)
    assert refusal(tmp_path) == (
        f"{tmp_path / '.archives' / 'toy.zip'}: is not the file that was published: "
        f"sha256:{hashlib.sha256(damaged).hexdigest()}, not sha256:{wanted}. It was deleted; "
        f"run the same again, or download {server.address}/toy.zip?download=1 by hand and unpack "
        f"it into {tmp_path}."
    )
    assert not list((tmp_path / ".archives").iterdir())
    assert not (tmp_path / "toy").exists()


def test_another_size_is_refused(publish, server, tmp_path):
    publish({"toy.zip": zip_of()})
    server.content["toy.zip"] += b"more"
    size = len(zip_of())
    assert refusal(tmp_path) == (
        f"{tmp_path / '.archives' / 'toy.zip'}: is not the file that was published: "
        f"{size + 4} bytes, not {size}. It was deleted; run the same again, or download "
        f"{server.address}/toy.zip?download=1 by hand and unpack it into {tmp_path}."
    )


def test_an_archive_that_moved_is_named_with_the_answer(publish, server, tmp_path):
    publish({"toy.zip": zip_of()})
    server.content.clear()
    assert refusal(tmp_path) == (
        f"{server.address}/toy.zip?download=1: the server answers 404. Try again later; if the "
        f"file has moved, download it by hand and unpack it into {tmp_path}."
    )


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("toy.zip", zip_of("../outside.wav"), "../outside.wav"),
        ("toy.zip", zip_of("/tmp/outside.wav"), "/tmp/outside.wav"),
        ("toy.zip", zip_of("..\\outside.wav"), "..\\outside.wav"),
        ("toy.zip", zip_of("C:/outside.wav"), "C:/outside.wav"),  # a drive of Windows
        ("toy.zip", zip_of("C:outside.wav"), "C:outside.wav"),
        ("toy.tar.gz", tar_of("../outside.wav"), "'../outside.wav' would be extracted to"),
    ],
)
def test_an_archive_does_not_write_outside_its_folder(publish, tmp_path, name, content, reason):
    folder = tmp_path / "inside"
    publish({name: content})
    message = refusal(folder)
    assert message.startswith(
        f"{folder / '.archives' / name}: would write outside the folder it is unpacked to ({reason}"
    )
    assert message.endswith("). It is not the archive that was published; delete it.")
    assert not (tmp_path / "outside.wav").exists()


@pytest.mark.parametrize(
    ("kind", "target", "reason"),
    [
        (tarfile.SYMTYPE, "/etc", "'toy/link' is a link to an absolute path"),
        (tarfile.SYMTYPE, "../../outside.wav", "'toy/link' would link to "),
        (tarfile.LNKTYPE, "../outside.wav", "'toy/link' would link to "),
        (tarfile.FIFOTYPE, "", "'toy/link' is a special file"),
        (tarfile.CHRTYPE, "", "'toy/link' is a special file"),
    ],
)
def test_a_tar_makes_no_links_outside_its_folder_and_no_devices(
    publish, tmp_path, kind, target, reason
):
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w:gz") as file:
        member = tarfile.TarInfo("toy/link")
        member.type, member.linkname = kind, target
        file.addfile(member)
    publish({"toy.tar.gz": archive.getvalue()})
    folder = tmp_path / "inside"
    assert refusal(folder).startswith(
        f"{folder / '.archives' / 'toy.tar.gz'}: would write outside the folder it is unpacked to "
        f"({reason}"
    )
    assert not (folder / "toy" / "link").is_symlink() and not (folder / "toy" / "link").exists()


def test_a_tar_gives_no_file_to_another_user_or_more_than_its_rights(publish, tmp_path):
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w:gz") as file:
        member = tarfile.TarInfo("toy/a.wav")
        member.mode = 0o6777
        file.addfile(member)
    publish({"toy.tar.gz": archive.getvalue()})
    download("toy", tmp_path)
    assert (tmp_path / "toy" / "a.wav").stat().st_mode & 0o7022 == 0


def bomb(kind):
    """100 MB of zeros in an archive of some 100 kB."""
    archive, zeros = io.BytesIO(), bytes(10**8)
    if kind == "toy.zip":
        with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
            file.writestr("toy/a.wav", zeros)
    elif kind == "toy.tar.gz":
        with tarfile.open(fileobj=archive, mode="w:gz") as file:
            member = tarfile.TarInfo("toy/a.wav")
            member.size = len(zeros)
            file.addfile(member, io.BytesIO(zeros))
    elif kind == "sparse":  # a file that says how long it is, and holds a byte
        with tarfile.open(fileobj=archive, mode="w:gz", format=tarfile.PAX_FORMAT) as file:
            member = tarfile.TarInfo("toy/a.wav")
            member.size = 1
            member.pax_headers = {"GNU.sparse.map": "0,1", "GNU.sparse.size": str(2**30)}
            file.addfile(member, io.BytesIO(b"a"))
    else:  # behind the end of the tar
        archive.write(tar_of() + gzip.compress(zeros))
    return archive.getvalue()


@pytest.mark.parametrize("kind", ["toy.zip", "toy.tar.gz", "sparse", "rest"])
def test_an_archive_of_an_absurd_size_is_refused(publish, tmp_path, kind):
    name = "toy.zip" if kind == "toy.zip" else "toy.tar.gz"
    publish({name: bomb(kind)})
    assert refusal(tmp_path) == (
        f"{tmp_path / '.archives' / name}: unpacks to more than 64 MB, many times its size. It is "
        "not the archive that was published; delete it."
    )
    assert sum(path.stat().st_size for path in tmp_path.rglob("a.wav")) < 2**26


def test_a_zip_in_parts_holds_no_more_than_its_directory_says(publish, tmp_path):
    parts = in_parts({"toy/a.wav": bytes(10**7), "toy/b.wav": SOUND}, 10_000)
    last = bytearray(parts["toy.zip"])
    entry = last.index(b"PK\x01\x02")
    last[entry + 24 : entry + 28] = (1000).to_bytes(4, "little")  # bytes of toy/a.wav
    publish(parts | {"toy.zip": bytes(last)})
    assert refusal(tmp_path) == (
        f"{tmp_path / '.archives' / 'toy.zip'}: is damaged (Bad CRC-32 for file 'toy/a.wav'). "
        "Delete it and download it again."
    )


def changed(content, place, value, start=b"PK\x01\x02"):
    content = bytearray(content)
    entry = content.index(start)
    content[entry + place : entry + place + len(value)] = value
    return bytes(content)


def test_an_encrypted_zip_is_refused(publish, tmp_path):
    publish({"toy.zip": changed(zip_of(), 8, b"\x01")})
    assert refusal(tmp_path) == (
        f"{tmp_path / '.archives' / 'toy.zip'}: is encrypted (toy/a.wav). It is not the archive "
        "that was published; delete it."
    )


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (changed(zip_of(), 10, b"\x63"), "That compression method is not supported"),
        (changed(zip_of(), 6, b"\xff"), "zip file version 25.5"),
        (changed(zip_of(), 42, b"\xff\xff\xff\x7f"), ""),
        (zip_of()[:-22] + b"PK\x05\x06" + b"\xff" * 18, ""),
        (b"PK\x03\x04", "File is not a zip file"),
        (b"", "File is not a zip file"),
    ],
)
def test_an_odd_zip_is_refused_in_one_line(publish, tmp_path, content, reason):
    publish({"toy.zip": content})
    message = refusal(tmp_path)
    assert message.startswith(f"{tmp_path / '.archives' / 'toy.zip'}: is damaged ({reason}")
    assert message.endswith("). Delete it and download it again.") and "\n" not in message


@pytest.mark.parametrize(
    "error",
    [
        tarfile.ReadError("odd"),
        gzip.BadGzipFile("odd"),
        zipfile.BadZipFile("odd"),
        zlib.error("odd"),
        EOFError("odd"),
        struct.error("odd"),
        ValueError("odd"),
        NotImplementedError("odd"),
        LookupError("odd"),
        OverflowError("odd"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_whatever_the_libraries_raise_of_an_archive_is_one_line(tmp_path, monkeypatch, error):
    def refuse(path):
        raise error

    (tmp_path / "a.zip").write_bytes(b"")
    monkeypatch.setattr(zipfile, "ZipFile", refuse)
    with pytest.raises(DataError) as refused:
        unpack([tmp_path / "a.zip"], tmp_path / "out")
    assert str(refused.value) == (
        f"{tmp_path / 'a.zip'}: is damaged (odd). Delete it and download it again."
    )


@pytest.mark.parametrize("name", ["toy.zip", "toy.tar.gz"])
def test_without_a_checksum_the_archive_itself_tells_that_it_is_damaged(publish, tmp_path, name):
    content = bytearray(zip_of() if name == "toy.zip" else tar_of(content=bytes(100_000)))
    content[len(content) // 2] ^= 1
    publish({name: bytes(content)}, checksum=None)
    message = refusal(tmp_path)
    assert message.startswith(f"{tmp_path / '.archives' / name}: is damaged (")
    assert message.endswith("). Delete it and download it again.")


def test_a_damaged_zip_in_parts_is_refused(publish, tmp_path):
    parts = in_parts({"toy/a.wav": hashlib.shake_128(b"noise").digest(300_000)}, 200_000)
    damaged = bytearray(parts["toy.z01"])
    damaged[100_000] ^= 1
    publish(parts | {"toy.z01": bytes(damaged)}, checksum=None)
    assert refusal(tmp_path).startswith(f"{tmp_path / '.archives' / 'toy.zip'}: is damaged (")


def test_a_full_disk_is_named(publish, tmp_path):
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("toy/a.wav", bytes(10**6))
    publish({"toy.zip": archive.getvalue()})
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (500_000, before[1]))
    try:
        message = refusal(tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert message == (
        f"{tmp_path}: toy.zip cannot be unpacked there (File too large). Free some space, or "
        "choose another folder."
    )
    download("toy", tmp_path)
    assert (tmp_path / "toy" / "a.wav").read_bytes() == bytes(10**6)


def test_a_folder_that_cannot_be_written_to_is_named(publish, tmp_path):
    publish({"toy.zip": zip_of()})
    (tmp_path / "file").touch()
    assert refusal(tmp_path / "file") == (
        f"{tmp_path / 'file' / '.archives'}: cannot be written to (Not a directory)."
    )


def test_an_unknown_data_set_is_named_with_the_nearest(tmp_path):
    assert refusal(tmp_path, "esc5") == (
        "unknown data set to download 'esc5'. Did you mean 'esc50'? Known: esc10, esc50, fsd50k, "
        "speech_commands_v1, speech_commands_v1_12, speech_commands_v2, speech_commands_v2_12, "
        "urbansound8k."
    )
