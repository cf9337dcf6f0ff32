"""What a power cut leaves: the system calls of a real process, played on a disk that forgets.

``record`` runs the driver under strace. ``Disk`` plays the calls: what was synchronised is there,
of the rest a cut keeps a random part, in sectors of 512 bytes; names that were made, changed or
removed and not followed by a synchronisation of the directory may be missing, the later ones first.
What a failed synchronisation was asked to write is never written (fsync(2): the pages count as
clean), though the process goes on seeing it.
"""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from random import Random
from typing import Any

HERE = Path(__file__).resolve().parent
SECTOR = 512
CALLS = (
    "openat,pwrite64,write,fdatasync,fsync,ftruncate,fallocate,rename,renameat,renameat2,"
    "unlink,unlinkat,close,lseek,dup,dup2,dup3,fcntl,copy_file_range,sendfile,pwritev"
)
SYNCS = ("fsync", "fdatasync")
UNSUPPORTED = ("copy_file_range", "sendfile", "pwritev")
RUN_S = 120.0

_LINE = re.compile(r"^(\d+)\s+([\d.]+) (.*)$")
_CALL = re.compile(r"^(\w+)\((.*)\)\s+= (-?\d+)")
_UNFINISHED = " <unfinished ...>"
_RESUMED = re.compile(r"^<\.\.\. (\w+) resumed>(.*)$")
_STRING = re.compile(r'"((?:\\x[0-9a-f]{2})*)"')
_FD = re.compile(r"^(-?\d+|AT_FDCWD)<((?:\\x[0-9a-f]{2})*)>")


@dataclass(frozen=True, slots=True)
class Call:
    """One system call that has returned; ``at`` is when it began, in Unix s."""

    at: float
    name: str
    fd: int
    path: str
    texts: tuple[bytes, ...]
    numbers: tuple[int, ...]
    result: int
    flags: str


def record(strace: str, life: Any, file: Path, *more: str, kill_ok: bool = False) -> list[Call]:
    """Runs one life of the driver and returns what it asked the kernel for."""
    command = [
        *(strace, "-f", "-y", "-xx", "-ttt", "-s", "100000000"),
        *(() if more else ("--seccomp-bpf",)),  # faster, but strace 6.1 then injects nothing
        *("-e", f"trace={CALLS}", "-o", str(file), *more),
        *(sys.executable, str(HERE / "driver_process.py"), json.dumps(asdict(life))),
    ]
    done = subprocess.run(command, capture_output=True, timeout=RUN_S)
    assert kill_ok or done.returncode == 0, done.stderr.decode()[-2000:]
    return list(calls(file))


def calls(file: Path) -> Iterator[Call]:
    """Calls in the order in which they returned."""
    open_ends: dict[str, tuple[float, str]] = {}
    with file.open(encoding="ascii", errors="replace") as lines:
        for line in lines:
            found = _LINE.match(line.rstrip("\n"))
            if found is None:
                continue
            thread, at, text = found[1], float(found[2]), found[3]
            if text.endswith(_UNFINISHED):
                open_ends[thread] = at, text.removesuffix(_UNFINISHED)
                continue
            resumed = _RESUMED.match(text)
            if resumed is not None and thread in open_ends:
                at, begin = open_ends.pop(thread)
                text = begin + resumed[2]
            call = _call(at, text)
            if call is not None:
                yield call


def _call(at: float, text: str) -> Call | None:
    found = _CALL.match(text)
    if found is None:
        return None
    name, rest, result = found[1], found[2], int(found[3])
    fd = _FD.match(rest)
    texts = tuple(_bytes(each) for each in _STRING.findall(rest))
    plain = _STRING.sub("", rest)
    numbers = tuple(int(each) for each in re.findall(r", (-?\d+)(?=,|$)", plain))
    number = -100 if fd is None or fd[1] == "AT_FDCWD" else int(fd[1])
    if name == "close" or fd is None:
        digits = re.match(r"^(\d+)", rest)
        number = int(digits[1]) if digits else number
    path = _bytes(fd[2]).decode() if fd is not None else ""
    return Call(at, name, number, path, texts, numbers, result, plain)


def _bytes(escaped: str) -> bytes:
    return bytes.fromhex(escaped.replace("\\x", ""))


@dataclass(slots=True)
class _File:
    durable: bytearray = field(default_factory=bytearray)
    pending: list[tuple[int, bytes]] = field(default_factory=list)
    size: int = 0

    def write(self, at: int, data: bytes) -> None:
        self.pending.append((at, data))
        self.size = max(self.size, at + len(data))

    def truncate(self, size: int) -> None:
        self.pending.append((size, b""))  # no data: the file ends here
        self.size = size

    def synchronise(self) -> None:
        for at, data in self.pending:
            _apply(self.durable, at, data)
        self.pending.clear()

    def after_cut(self, random: Random, share: float) -> bytes:
        content = bytearray(self.durable)
        for at, data in self.pending:
            for begin, piece in _sectors(at, data):
                if random.random() < share:
                    _apply(content, begin, piece)
        return bytes(content)


def _sectors(at: int, data: bytes) -> Iterator[tuple[int, bytes]]:
    if not data:
        yield at, data
    while data:
        size = SECTOR - at % SECTOR
        yield at, data[:size]
        at, data = at + size, data[size:]


def _apply(content: bytearray, at: int, data: bytes) -> None:
    if not data:
        del content[at:]
        content.extend(bytes(at - len(content)))
        return
    if len(content) < at:
        content.extend(bytes(at - len(content)))
    content[at : at + len(data)] = data


@dataclass(frozen=True, slots=True)
class _Opened:
    file: _File
    name: str
    appends: bool


class Disk:
    """One directory on a disk that forgets what was not synchronised.

    It begins as a copy, ``before``, of what the recorded process found under the name ``at``.
    """

    def __init__(self, before: Path, told: Path, *, at: Path | None = None) -> None:
        self.told = ""
        self.failed = 0
        self._directory = str(at or before)
        self._told = str(told)
        self._names: dict[str, _File] = {}
        self._durable_names: dict[str, _File] = {}
        self._moves: list[tuple[str, str, _File | None]] = []
        self._open: dict[int, _Opened] = {}
        self._positions: dict[int, int] = {}
        for path in before.iterdir() if before.exists() else ():
            content = path.read_bytes()
            self._names[path.name] = _File(bytearray(content), [], len(content))
        self._durable_names.update(self._names)

    def play(self, call: Call) -> bool:
        """Takes one call; whether it changed anything on the disk or was told."""
        if call.name == "write" and call.path == self._told and call.result > 0:
            self.told += call.texts[-1][: call.result].decode()
            return True
        self.failed += call.result < 0 and self._is_mine(call.path)
        act = getattr(self, f"_do_{call.name}", None)
        if act is not None:
            return bool(act(call))
        if call.name in UNSUPPORTED and self._is_mine(call.path):
            raise AssertionError(f"{call.name} is not played yet")
        return False

    def after_cut(self, random: Random, place: Path) -> None:
        """Writes down what is left when the power goes now; the disk itself goes on."""
        share = random.choice((0.0, 0.1, 0.5, 0.9, 1.0))
        names = dict(self._durable_names)
        for old, new, file in self._moves[: random.randint(0, len(self._moves))]:
            names.pop(old, None)
            if new and file is not None:
                names[new] = file
        place.mkdir()
        for name, file in names.items():
            if not name.endswith("-shm"):  # made anew by the first who opens
                (place / name).write_bytes(file.after_cut(random, share))

    # -- calls

    def _do_openat(self, call: Call) -> bool:
        path = self._full(call, call.texts[-1].decode())
        if call.result < 0:
            return False
        self._open.pop(call.result, None)
        if not self._is_mine(path):
            return False
        name = os.path.basename(path)
        file = self._names.get(name)
        created = file is None and "O_CREAT" in call.flags
        if file is None:
            if not created:
                return False
            file = _File()
            self._move("", name, file)
        elif "O_TRUNC" in call.flags and file.size:
            file.truncate(0)
        self._open[call.result] = _Opened(file, name, "O_APPEND" in call.flags)
        self._positions[call.result] = 0
        return created

    def _do_close(self, call: Call) -> bool:
        self._open.pop(call.fd, None)
        return False

    def _do_pwrite64(self, call: Call) -> bool:
        opened = self._opened(call)
        if opened is None or call.result <= 0:
            return False
        opened.file.write(call.numbers[-1], call.texts[-1][: call.result])
        return True

    def _do_write(self, call: Call) -> bool:
        opened = self._opened(call)
        if opened is None or call.result <= 0:
            return False
        at = opened.file.size if opened.appends else self._positions[call.fd]
        opened.file.write(at, call.texts[-1][: call.result])
        self._positions[call.fd] = at + call.result
        return True

    def _do_lseek(self, call: Call) -> bool:
        if call.result >= 0 and call.fd in self._positions:
            self._positions[call.fd] = call.result
        return False

    def _do_ftruncate(self, call: Call) -> bool:
        opened = self._opened(call)
        if opened is None or call.result:
            return False
        opened.file.truncate(call.numbers[-1])
        return True

    def _do_fallocate(self, call: Call) -> bool:
        opened = self._opened(call)
        if opened is None or call.result:
            return False
        assert "KEEP_SIZE" in call.flags or call.numbers[-1] >= 0
        end = call.numbers[-2] + call.numbers[-1]
        if end > opened.file.size:
            opened.file.truncate(end)
        return True

    def _do_fsync(self, call: Call) -> bool:
        if call.path == self._directory:
            if not call.result:
                self._durable_names = dict(self._names)
                self._moves.clear()
            return True
        opened = self._opened(call)
        if opened is None:
            return False
        if call.result:
            opened.file.pending.clear()
        else:
            opened.file.synchronise()
        return True

    _do_fdatasync = _do_fsync

    def _do_rename(self, call: Call) -> bool:
        if call.result or not self._is_mine(call.texts[0].decode()):
            return False
        old, new = (os.path.basename(text.decode()) for text in call.texts)
        self._move(old, new, self._names[old])
        return True

    _do_renameat = _do_renameat2 = _do_rename

    def _do_unlink(self, call: Call) -> bool:
        path = call.texts[-1].decode()
        if call.result or not self._is_mine(path):
            return False
        self._move(os.path.basename(path), "", None)
        return True

    _do_unlinkat = _do_unlink

    # -- private

    def _move(self, old: str, new: str, file: _File | None) -> None:
        self._moves.append((old, new, file))
        self._names.pop(old, None)
        if new and file is not None:
            self._names[new] = file

    def _full(self, call: Call, path: str) -> str:
        return path if path.startswith("/") else os.path.join(call.path, path)

    def _is_mine(self, path: str) -> bool:
        return os.path.dirname(path) == self._directory

    def _opened(self, call: Call) -> _Opened | None:
        opened = self._open.get(call.fd)
        return opened if opened is not None and self._is_mine(call.path) else None


def cut_points(disk: Disk, calls: Sequence[Call], count: int, random: Random) -> set[int]:
    """After which calls to cut: anywhere, and some right after something was told."""
    marks, promises = [], []
    for at, call in enumerate(calls):
        before = len(disk.told)
        if disk.play(call):
            marks.append(at)
        if len(disk.told) > before and disk.told[before] == "A":
            promises.append(at)
    chosen = {marks[-1]} | set(random.sample(promises, min(len(promises), count // 3)))
    rest = [at for at in marks if at not in chosen]
    return chosen | set(random.sample(rest, max(0, count - len(chosen))))
