"""What every room's tests share: a tone, the real data where it is, a tiny checkpoint."""

import math
import os
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from time import sleep

import numpy as np
import pytest
import soundfile
import torch
from torch import Tensor

SAMPLE_RATE = 16_000
PROJECT = Path(__file__).parents[1]
NOBODY = 65534  # user id without any rights


@pytest.fixture
def tone() -> Tensor:
    """One second of 1 kHz at half scale, 16 kHz."""
    return 0.5 * torch.sin(2 * math.pi * 1000 * torch.arange(SAMPLE_RATE) / SAMPLE_RATE)


@pytest.fixture
def noise_clips(tmp_path: Path) -> Callable[..., Path]:
    """Writes clips of noise, 0.3 s each and of the labels a and b in turn, and their manifest.

    A column of the manifest is given by its name, with a value for each clip.
    """

    def write(**columns: Sequence[object]) -> Path:
        random = np.random.default_rng(0)
        lines = [",".join(["path", "labels", *columns])]
        for number, values in enumerate(zip(*columns.values(), strict=True)):
            name = f"{number}.wav"
            soundfile.write(tmp_path / name, random.normal(0, 0.1, 4800), SAMPLE_RATE)
            lines.append(",".join(map(str, [name, "ab"[number % 2], *values])))
        manifest = tmp_path / "clips.csv"
        manifest.write_text("\n".join(lines) + "\n")
        return manifest

    return write


def _shared(variable: str, default: str) -> Path:
    folder = Path(os.environ.get(variable, PROJECT.parent / "shared" / default))
    if folder.is_dir():
        return folder
    message = f"{folder} is absent: set ${variable} to the folder"
    if os.environ.get("CI") and variable not in os.environ:
        pytest.fail(message)
    pytest.skip(message)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The real recordings; skips where they are absent, and fails there in CI."""
    return _shared("AURICLE_DATA", "data")


@pytest.fixture(scope="session")
def shared_teacher() -> Path:
    """The AudioSet tagger that soft targets come from."""
    return _shared("AURICLE_TEACHER", "teacher")


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a HAM-AST with random weights and four labels, which takes 2 s at once."""
    from auricle import checkpoint
    from auricle.features import FbankConfig, PaddingConfig

    settings = {"width": 16, "depth": 1, "num_heads": 2, "max_frames": 200}
    settings["conformer"] = {"num_blocks": 1}
    front_end = FbankConfig(num_mels=32, padding=PaddingConfig(frames=16))
    folder = tmp_path_factory.mktemp("models") / "tiny"
    with torch.random.fork_rng():
        torch.manual_seed(0)
        tiny = checkpoint.create(
            "ham_ast", settings, front_end, ["dog", "cat", "rain", "sea"], "softmax"
        )
        for parameter in tiny.parameters():  # fresh weights leave branches out
            torch.nn.init.normal_(parameter, std=0.5)
    checkpoint.save(tiny, folder)
    return folder


@pytest.fixture
def double_by_default() -> Iterator[None]:
    """torch's default is float64, as in programs of other people that use this package."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """An empty folder that every user can enter; pytest's own are the owner's alone."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o777)
        yield folder


@pytest.fixture
def ordinary_user():
    """A block in which the super-user has only the rights of an ordinary one."""

    @contextmanager
    def rights() -> Iterator[None]:
        user = os.geteuid()
        if user == 0:
            os.seteuid(NOBODY)
        try:
            yield
        finally:
            os.seteuid(user)

    return rights


class Server(ThreadingHTTPServer):
    """Serves `content` by its path, as the web does on a bad day.

    Attributes:
        cuts: after how many bytes the next answers break off.
        errors: status, and the hub's code for the reason, of some paths.
        moved: paths to which some paths redirect.
        pauses: seconds between two pieces of the next answers.
        asked: the ranges of the requests.
    """

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.content: dict[str, bytes] = {}
        self.cuts: list[int] = []
        self.errors: dict[str, tuple[int, str]] = {}
        self.moved: dict[str, str] = {}
        self.pauses: list[float] = []
        self.knows_ranges = True
        self.asked: list[str] = []
        self.address = f"http://127.0.0.1:{self.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    """One answer."""

    server: Server

    def do_GET(self):
        server = self.server
        path = self.path.partition("?")[0].removeprefix("/")
        if path in server.moved:
            self.send_response(302)
            self.send_header("Location", f"{server.address}/{server.moved[path]}")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        content = server.content.get(path)
        wanted = self.headers.get("Range", "all")
        server.asked.append(wanted)
        if content is None or path in server.errors:
            status, code = server.errors.get(path, (404, ""))
            self.send_response(status)
            self.send_header("X-Error-Code", code)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        start = int(wanted[len("bytes=") : -1]) if wanted != "all" and server.knows_ranges else 0
        if start and start >= len(content):
            self.send_error(416)
            return
        cut = server.cuts.pop(0) if server.cuts else None
        if cut != 0:  # else nothing at all is answered
            self.send_response(206 if start else 200)
            self.send_header("Content-Length", str(len(content) - start))
            if start:
                self.send_header("Content-Range", f"bytes {start}-/{len(content)}")
            self.end_headers()
            self._send(content[start:][:cut])
        self.close_connection = True

    def _send(self, content: bytes) -> None:
        pause = self.server.pauses.pop(0) if self.server.pauses else 0.0
        size = -(-len(content) // 4)
        for first in range(0, len(content), size):
            self.wfile.write(content[first : first + size])
            sleep(pause)

    def log_message(self, *arguments):
        """Print nothing."""


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A web server on this machine; what is fetched from it does not wait between two tries."""
    monkeypatch.setattr("huggingface_hub.file_download.time.sleep", lambda seconds: None)
    # What of a chunk has come when the connection breaks is lost; its 10 MB are more than we send.
    monkeypatch.setattr("huggingface_hub.constants.DOWNLOAD_CHUNK_SIZE", 10_000)
    with Server() as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield server
        server.shutdown()
