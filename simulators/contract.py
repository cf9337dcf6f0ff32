"""What every driver must stand, whatever its instrument: plain functions that tests call.

``check_listener`` takes the bytes of a healthy instrument, ``check_asker`` the requests that are
allowed, ``check_registers`` nothing but the driver. What does not hold raises ContractBroken.
"""

import math
import random
import re
import time
from collections.abc import Callable, Generator, Iterable, Mapping
from functools import partial
from typing import Final, TypeVar, cast

from drivers.api import (
    Ask,
    Asker,
    Done,
    Drain,
    DriverInfo,
    Listener,
    Operation,
    Output,
    Quiet,
    ReadBlock,
    Registers,
    Reopen,
)
from drivers.errors import DriverError, ExchangeError, Refused, Reject, ReplyTimeout
from simulators.contract_outputs import (
    ContractBroken,
    check_identity,
    check_output,
    check_outputs,
    default_options,
    ends_with,
    first_difference,
    guarded,
    invented,
    random_split,
    told,
    values,
)

__all__ = ["ContractBroken", "check_asker", "check_listener", "check_registers"]

FLOOD_BYTES: Final = 2_000_000
FLOOD_CPU_S: Final = 10.0
FLOOD_ERRORS: Final = 64
MOST_OPERATIONS: Final = 500
MOST_REGISTERS: Final = 125
"""Modbus Application Protocol V1.1b3, 6.3: quantity of registers 1 to 125."""
_CHUNK: Final = 4096
_ROUNDS: Final = 40
_FLIPS: Final = 400
_CYCLES: Final = 5
_Result = TypeVar("_Result")


def check_listener(
    info: DriverInfo, stream: bytes, *, checksummed: bool, seed: int = 1, hello: bytes = b""
) -> None:
    """All rules for a driver that is fed; ``stream`` is what a healthy instrument sends.

    ``hello`` is all that it may say. Without a checksum damaged bytes may read as other values.
    """
    run = _Listening(info, stream, random.Random(seed))
    run.says_only(hello)
    run.values_whole()
    run.same_however_split()
    run.survives_garbage()
    run.survives_interruption()
    run.survives_flipped_bits(checksummed)
    run.survives_bursts(checksummed)
    run.survives_floods()
    run.makes_nothing_of_zeros()


class _Listening:
    """One run of the rules for a listener."""

    def __init__(self, info: DriverInfo, stream: bytes, rng: random.Random) -> None:
        self._info = info
        self._stream = stream
        self._rng = rng

    def _broken(self, rule: str, detail: str) -> ContractBroken:
        return ContractBroken(self._info.name, rule, detail)

    def _new(self) -> Listener:
        return cast(Listener, self._info.create(default_options(self._info)))

    def _fed(
        self, chunks: Iterable[bytes], rule: str, driver: Listener | None = None
    ) -> list[Output]:
        driver = driver or self._new()
        outputs: list[Output] = []
        for chunk in chunks:
            outputs += guarded(self._info, rule, partial(_listed, driver, chunk))
        for output in outputs:
            check_output(self._info, rule, output)
        return outputs

    def says_only(self, hello: bytes) -> None:
        said = self._new().hello()
        if said not in (b"", hello):
            raise self._broken("says only what is allowed", repr(said))

    def values_whole(self) -> None:
        if not values(self._fed([self._stream], "whole")):
            raise self._broken("whole", "the stream of a healthy instrument gives no value")

    def same_however_split(self) -> None:
        whole = [told(output) for output in self._fed([self._stream], "whole")]
        splits = [[bytes((byte,)) for byte in self._stream]]
        splits += [list(random_split(self._stream, self._rng)) for _ in range(_ROUNDS)]
        for split in splits:
            outputs = [told(output) for output in self._fed(split, "split anywhere")]
            if outputs != whole:
                raise self._broken("split anywhere", first_difference(whole, outputs))

    def survives_garbage(self) -> None:
        """The second copy of the stream is understood in full, and nothing else is added."""
        once = len(values(self._fed([self._stream], "whole")))
        clean = values(self._fed([self._stream * 2], "whole"))
        for _ in range(_ROUNDS):
            before, after = (self._rng.randbytes(self._rng.randrange(400)) for _ in range(2))
            noisy = values(self._fed([before, self._stream * 2, after], "garbage around"))
            if made := invented(noisy, clean):
                raise self._broken("garbage invents nothing", repr(made[0]))
            if not ends_with(noisy, clean[once:]):
                raise self._broken("garbage", "the frames behind it are not all found")

    def survives_interruption(self) -> None:
        clean = values(self._fed([self._stream * 2], "whole"))
        once = len(values(self._fed([self._stream], "whole")))
        for _ in range(_ROUNDS):
            driver = self._new()
            cut = self._rng.randrange(len(self._stream))
            self._fed([self._stream[:cut]], "interruption", driver)
            guarded(self._info, "interruption", driver.interrupted)
            later = values(self._fed([self._stream * 2], "interruption", driver))
            if not ends_with(later, clean[once:]):
                raise self._broken("interruption", f"cut at {cut}: later frames are lost")

    def survives_flipped_bits(self, checksummed: bool) -> None:
        """One wrong bit anywhere: a checksum finds it, so it may cost values but make none."""
        clean = values(self._fed([self._stream], "whole"))
        for _ in range(_FLIPS):
            damaged, bit = bytearray(self._stream), self._rng.randrange(8 * len(self._stream))
            damaged[bit // 8] ^= 1 << bit % 8
            noisy = values(self._fed([bytes(damaged)], "flipped bit"))
            if checksummed and (made := invented(noisy, clean)):
                raise self._broken("flipped bit", f"bit {bit} made {made[0]!r}")

    def survives_bursts(self, checksummed: bool) -> None:
        """Four wrong bytes: an 8-bit checksum misses one in 256, so 2 % is the bound."""
        clean = values(self._fed([self._stream], "whole"))
        false = 0
        for _ in range(_FLIPS):
            at = self._rng.randrange(max(1, len(self._stream) - 4))
            damaged = self._stream[:at] + self._rng.randbytes(4) + self._stream[at + 4 :]
            noisy = values(self._fed([damaged], "burst"))
            false += bool(invented(noisy, clean))
        if checksummed and false > _FLIPS // 50:
            raise self._broken("burst", f"{false} of {_FLIPS} bursts passed as values")

    def survives_floods(self) -> None:
        for filler in (b"\x00", b"\xff", b"A", b"$", self._stream[:1]):
            self._survives_flood(filler)

    def _survives_flood(self, filler: bytes) -> None:
        rule = f"flood of {filler!r}"
        driver, started = self._new(), time.process_time()
        outputs = self._fed([filler * _CHUNK] * (FLOOD_BYTES // _CHUNK), rule, driver)
        spent_s = time.process_time() - started
        if spent_s > FLOOD_CPU_S:
            raise self._broken(rule, f"{FLOOD_BYTES} bytes took {spent_s:.1f} s")
        if values(outputs):
            raise self._broken(rule, f"made {values(outputs)[0]!r}")
        if len(outputs) > FLOOD_ERRORS:
            raise self._broken(rule, f"{len(outputs)} errors")
        once = len(values(self._fed([self._stream], "whole")))
        clean = values(self._fed([self._stream * 2], "whole"))
        if not ends_with(values(self._fed([self._stream * 2], rule, driver)), clean[once:]):
            raise self._broken(rule, "does not recover")

    def makes_nothing_of_zeros(self) -> None:
        for size in (1, 7, 64, 1000, 65_536):
            if made := values(self._fed([bytes(size)], "zeros")):
                raise self._broken("zeros", repr(made[0]))


def _listed(driver: Listener, data: bytes) -> list[Output]:
    return list(driver.feed(data))


Answer = Callable[[Ask, int], bytes | None]
"""What a bad instrument answers to the n-th question; None is silence."""


def check_asker(
    info: DriverInfo,
    allowed: re.Pattern[bytes],
    *,
    checksummed: bool,
    answers: Mapping[bytes, bytes] | None = None,
    seed: int = 1,
) -> None:
    """All rules for a driver that asks: it sends only ``allowed``, ends, and believes no rubbish.

    With good ``answers`` (request to answer) an instrument that identified itself well and then
    goes bad is tried too. Without a checksum an answer of the right length may read as a value.
    """
    good = dict(answers or {})
    for name, answer in bad_instruments(random.Random(seed), good).items():
        rule = f"answers: {name}"
        may_be_values = not checksummed and name in ("garbage", "zeros")
        for identified_well in (False, True) if good else (False,):
            driver = cast(Asker, info.create(default_options(info)))
            first = _good(good) if identified_well else answer
            identity = _converse(info, rule, driver.identify(), first, allowed)
            check_identity(info, rule, identity)
            if identified_well:
                _expect_good(info, driver, first, allowed)
            for _ in range(_CYCLES):
                outputs = _converse(info, rule, driver.poll(), answer, allowed)
                made = values(check_outputs(info, rule, outputs or ()))
                if made and not may_be_values:
                    raise ContractBroken(info.name, rule, f"made {made[0]!r}")


def _expect_good(
    info: DriverInfo, driver: Asker, answer: "Answer", allowed: re.Pattern[bytes]
) -> None:
    """A few cycles with good answers, so that nothing of them is left for the bad ones."""
    made = 0
    for _ in range(_CYCLES):
        outputs = _converse(info, "good answers", driver.poll(), answer, allowed)
        made += len(values(check_outputs(info, "good answers", outputs or ())))
    if not made:
        raise ContractBroken(info.name, "good answers", "give no value")


def bad_instruments(rng: random.Random, good: Mapping[bytes, bytes]) -> dict[str, Answer]:
    """Ways to answer badly, by name."""

    def truncated(ask: Ask, number: int) -> bytes | None:
        whole = good.get(ask.request, b"\r")
        return whole[: len(whole) // 2]

    return {
        "silence": lambda ask, number: None,
        "empty": lambda ask, number: b"",
        "one byte": lambda ask, number: b"\x00",
        "truncated": truncated,
        "zeros": lambda ask, number: bytes(300),
        "garbage": lambda ask, number: rng.randbytes(rng.randrange(1, 400)),
        "text": lambda ask, number: b"ERROR what do you want\r\n" * 3,
        "echo": lambda ask, number: ask.request,
        "now and then": lambda ask, number: rng.randbytes(8) if number % 2 else None,
    }


def _good(answers: Mapping[bytes, bytes]) -> Answer:
    return lambda ask, number: answers.get(ask.request)


def _converse(
    info: DriverInfo,
    rule: str,
    talk: Generator[Operation, bytes, _Result],
    answer: Answer,
    allowed: re.Pattern[bytes],
) -> _Result | None:
    """Play a session around a generator; None when it gave up with a DriverError."""
    reply: bytes | DriverError = b""
    started = False
    for number in range(MOST_OPERATIONS):
        try:
            operation = _resume(talk, reply) if started else next(talk)
        except StopIteration as end:
            return cast(_Result, end.value)
        except DriverError:
            return None
        except Exception as error:
            raise ContractBroken(info.name, rule, f"raised {error!r}") from error
        started = True
        reply = _perform(info, rule, operation, answer, number, allowed)
    raise ContractBroken(info.name, rule, f"no end after {MOST_OPERATIONS} operations")


def _resume(talk: Generator[Operation, bytes, _Result], reply: bytes | DriverError) -> Operation:
    return talk.throw(reply) if isinstance(reply, DriverError) else talk.send(reply)


def _perform(
    info: DriverInfo,
    rule: str,
    operation: Operation,
    answer: Answer,
    number: int,
    allowed: re.Pattern[bytes],
) -> bytes | DriverError:
    if isinstance(operation, Drain | Reopen):
        return b""
    if operation.request and allowed.fullmatch(operation.request) is None:
        raise ContractBroken(info.name, "sends only what reads", repr(operation.request))
    if not (math.isfinite(operation.timeout_s) and operation.timeout_s > 0):
        raise ContractBroken(info.name, "timeout", repr(operation.timeout_s))
    said = answer(operation, number)
    if said is None:
        return ReplyTimeout()
    verdict = operation.until(said)
    if isinstance(verdict, Done):
        if not 0 <= verdict.length <= len(said):
            raise ContractBroken(info.name, rule, f"{verdict} of {len(said)} bytes")
        return said[: verdict.length]
    return said if isinstance(verdict, Quiet) else ReplyTimeout(said)


def check_registers(info: DriverInfo, *, seed: int = 1) -> None:
    """All rules for a driver of registers: it asks sensibly, ends, and stands any answer."""
    rng = random.Random(seed)
    fillings: dict[str, Callable[[ReadBlock], tuple[int, ...] | DriverError]] = {
        "zeros": lambda block: (0,) * block.count,
        "ones": lambda block: (0xFFFF,) * block.count,
        "random": lambda block: tuple(rng.randrange(0x10000) for _ in range(block.count)),
        "short": lambda block: (1,) * (block.count - 1),
        "none": lambda block: (),
        "long": lambda block: (1,) * (block.count + 1),
        "timeout": lambda block: ReplyTimeout(),
        "refused": lambda block: Refused(2),
        "unexpected": lambda block: ExchangeError(Reject.UNEXPECTED),
    }
    for name, fill in fillings.items():
        rule = f"registers: {name}"
        no_value = name in ("short", "none", "long", "timeout", "refused", "unexpected")
        for _ in range(_ROUNDS if name == "random" else 1):
            driver = cast(Registers, info.create(default_options(info)))
            check_identity(info, rule, _read_blocks(info, rule, driver.identify(), fill))
            for _ in range(3):
                outputs = _read_blocks(info, rule, driver.poll(), fill)
                made = values(check_outputs(info, rule, outputs or ()))
                if made and no_value:
                    raise ContractBroken(info.name, rule, f"made {made[0]!r}")
                if not (math.isfinite(driver.poll_s) and driver.poll_s > 0):
                    raise ContractBroken(info.name, rule, f"poll_s is {driver.poll_s}")


def _read_blocks(
    info: DriverInfo,
    rule: str,
    talk: Generator[ReadBlock, tuple[int, ...], _Result],
    fill: Callable[[ReadBlock], tuple[int, ...] | DriverError],
) -> _Result | None:
    reply: tuple[int, ...] | DriverError | None = None
    for _ in range(MOST_OPERATIONS):
        try:
            if reply is None:
                block = next(talk)
            elif isinstance(reply, DriverError):
                block = talk.throw(reply)
            else:
                block = talk.send(reply)
        except StopIteration as end:
            return cast(_Result, end.value)
        except DriverError:
            return None
        except Exception as error:
            raise ContractBroken(info.name, rule, f"raised {error!r}") from error
        _check_block(info, block)
        reply = fill(block)
    raise ContractBroken(info.name, rule, f"no end after {MOST_OPERATIONS} blocks")


def _check_block(info: DriverInfo, block: ReadBlock) -> None:
    fits = block.address >= 0 and block.address + block.count <= 0x10000
    if block.function not in (3, 4) or not 1 <= block.count <= MOST_REGISTERS or not fits:
        raise ContractBroken(info.name, "reads only", repr(block))
