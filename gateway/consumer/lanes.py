"""Every lane of a gateway over its epochs: what is awaited, what to ask for, what is given up.

Part of ``consumer.py``; depends on the standard library alone, so that others may take it.
"""

import re
from collections.abc import Mapping
from itertools import islice
from typing import Any, Final

from gateway.consumer.numbers import Range, Ranges, Stream
from gateway.consumer.values import GREATEST, Finding, Gateway, Kind, Resend, whole

LANES: Final = ("alarms", "samples", "exercise-alarms", "exercise-samples")
"""What everybody may read; ``restricted`` and ``exercise-restricted`` hold assessments and answers
to commands, of which a broker gives each reader only its own."""
SETTLE_S: Final = 10.0
"""Own choice: what a heartbeat says exists may be on its way for so long."""
PATIENCE_S: Final = {True: 2.0, False: 10.0}
"""Own choice: alarms (True) come in order; of samples a backlog may still be on its way."""
ASK_S: Final = 15.0
TRIES: Final = 4
"""Own choice: asked again after 15, 30 and 60 s without progress, then given up."""
NUMBERS: Final = 10_000
"""A gateway sends so many again for one command."""
HOLE: Final = 20
REQUESTS: Final = 10
"""Own choice: ranges are joined over holes so small, and so many asked for at a time."""
GATHERED_S: Final = 600.0
"""The longest time over which a sink may gather samples into summaries or batches; so much more
patience is had where they come like that."""
ALL: Final = (1, GREATEST)
_SENT: Final = re.compile(r"(\d+) sent again, (\d+) no longer kept")
"""How an answer to ``resend`` begins."""
STREAMS: Final = 64
"""Own choice: lanes times epochs of one gateway."""


def advance(gateway: Gateway, epoch: int, now: float) -> list[Finding]:
    """A new epoch has begun: of it, and of those between, everything is awaited."""
    if epoch <= gateway.epoch:
        return []
    first = max(gateway.epoch + 1, epoch - STREAMS // len(LANES) + 1)
    gateway.epoch, gateway.beat = epoch, 0
    for lane in gateway.joined:
        for each in range(first, epoch + 1):
            gateway.streams[lane, each] = Stream(now, joined=True)
    return _trim(gateway)


def stream_of(gateway: Gateway, lane: str, epoch: int, now: float) -> Stream | None:
    """Where a number belongs; None for an epoch of which everything has come."""
    stream = gateway.streams.get((lane, epoch))
    if stream is None and epoch < gateway.joined.get(lane, epoch + 1):
        stream = gateway.streams[lane, epoch] = Stream(now, joined=False)
        _trim(gateway)
    return stream


def join(gateway: Gateway, lane: str, stream: Stream, base: int) -> None:
    """The first live sign of a lane: from here on nothing may be missing."""
    if lane not in gateway.joined:
        gateway.joined[lane] = gateway.epoch
        stream.join(base)


def _trim(gateway: Gateway) -> list[Finding]:
    """Forgets the oldest epochs where there are too many."""
    findings = []
    for lane, epoch in sorted(gateway.streams, key=lambda each: each[1])[:-STREAMS]:
        stream = gateway.streams.pop((lane, epoch))
        findings += _give_up(gateway, lane, epoch, stream, ALL, stream.moved)
    return findings


def _give_up(
    gateway: Gateway, lane: str, epoch: int, stream: Stream, within: Range, now: float
) -> list[Finding]:
    missing = stream.missing.remove(within[0], min(within[1], stream.newest))
    for each in missing:
        stream.unasked.add(*each)
        stream.told.remove(*each)
    stream.moved = now
    return [Finding(Kind.GIVEN_UP, gateway.id, "", lane, epoch, *each) for each in missing]


def tell_filled(gateway: Gateway, lane: str, epoch: int, stream: Stream) -> list[Finding]:
    if stream.missing or not stream.told:
        return []
    stream.told = Ranges()
    return [Finding(Kind.FILLED, gateway.id, "", lane, epoch)]


def _is_overdue(gateway: Gateway, lane: str, stream: Stream, now: float) -> bool:
    patience_s = PATIENCE_S[not lane.endswith("samples")]
    if lane in gateway.gathered:
        patience_s += GATHERED_S
    return bool(stream.missing) and now - stream.moved >= patience_s


def look(gateway: Gateway, lane: str, epoch: int, stream: Stream, now: float) -> list[Finding]:
    """Tells its gaps, gives up what was asked for in vain, forgets it when it is complete."""
    stream.settle(now - SETTLE_S)
    findings = []
    for ranges in (stream.missing, stream.unasked, stream.covered, stream.doomed, stream.told):
        forgotten = ranges.shorten()
        if ranges is stream.missing:
            findings += [
                Finding(Kind.GIVEN_UP, gateway.id, "too many gaps", lane, epoch, *each)
                for each in forgotten
            ]
    if _is_overdue(gateway, lane, stream, now):
        for each in stream.untold():
            findings.append(Finding(Kind.GAP, gateway.id, "", lane, epoch, *each))
        if now >= stream.ask_after:
            for each in list(stream.doomed):
                findings += _give_up(gateway, lane, epoch, stream, each, now)
                stream.doomed.remove(*each)
            if stream.asked >= TRIES:
                findings += _give_up(gateway, lane, epoch, stream, ALL, now)
                stream.asked = 0
    if stream.final and stream.joined and not stream.missing and not stream.unasked:
        del gateway.streams[lane, epoch]
    return findings


def requests(gateway: Gateway, room: int, now: float) -> list[Resend]:
    """Up to ``room`` ranges to ask for now."""
    wanted: list[Resend] = []
    for (lane, epoch), stream in sorted(gateway.streams.items()):
        is_due = now >= stream.ask_after and _is_overdue(gateway, lane, stream, now)
        if not is_due or stream.asked >= TRIES or len(wanted) >= room:
            continue
        for first, last in islice(stream.wanted(HOLE, NUMBERS), room - len(wanted)):
            wanted.append(Resend(gateway.id, lane, epoch, first, last))
        stream.ask_after = now + ASK_S * 2**stream.asked
        stream.asked += 1
    return wanted


def finish(gateway: Gateway, epoch: int, previous: Mapping[str, int], now: float) -> list[Finding]:
    """Epochs before ``epoch`` are over; of the last one it is known at which numbers."""
    findings = []
    for (lane, old), stream in gateway.streams.items():
        if old >= epoch or stream.final:
            continue
        stream.final = True
        if old == epoch - 1 and lane in previous:
            stream.reach(previous[lane], now)
        elif stream.joined:
            unknown = Finding(Kind.END_UNKNOWN, gateway.id, "", lane, old, stream.newest + 1)
            findings.append(unknown)
    return findings


def lost(gateway: Gateway, body: Mapping[str, Any], now: float) -> list[Finding]:
    """Records that no longer exist: nobody waits for them any more."""
    lane, epoch, count = str(body["of_lane"]), whole(body["of_epoch"]), whole(body["count"])
    reason = f"{count} deleted: {body['reason']}"
    if body["first"] is None or body["last"] is None:
        return [Finding(Kind.LOST, gateway.id, reason, lane, epoch)]
    first, last = whole(body["first"]), whole(body["last"])
    stream = gateway.streams.get((lane, epoch))
    if stream is not None:
        missing = stream.excuse(first, last, now)
        reason = f"{reason}; {missing} of them had not come"
    return [Finding(Kind.LOST, gateway.id, reason, lane, epoch, first, last)]


def summed_up(gateway: Gateway, body: Mapping[str, Any], now: float) -> list[Finding]:
    """Samples that came as one summary."""
    lane, epoch, number = str(body["lane"]), whole(body["epoch"]), whole(body["first"])
    numbers = [number]
    for step in body["steps"]:
        number += whole(step)
        numbers.append(number)
    findings = advance(gateway, epoch, now)
    stream = stream_of(gateway, lane, epoch, now)
    if stream is not None:
        gateway.gathered.add(lane)
        if epoch == gateway.epoch and not body.get("replayed"):
            join(gateway, lane, stream, numbers[0] - 1)
        if sum(stream.cover(each, each, now) for each in numbers):
            return [*findings, *tell_filled(gateway, lane, epoch, stream)]
    known = Finding(Kind.DUPLICATE, gateway.id, "", lane, epoch, numbers[0], numbers[-1])
    return [*findings, known]


def answered(gateway: Gateway, body: Mapping[str, Any], now: float) -> list[Finding]:
    """The answer to a ``resend``, whoever asked: what is no longer kept is not asked for again."""
    arguments = dict(body["arguments"])
    lane, epoch = str(arguments["lane"]), whole(arguments["epoch"])
    stream = gateway.streams.get((lane, epoch))
    said = _SENT.match(str(body["reason"]))
    if not body["accepted"] or stream is None or said is None or said[2] == "0":
        return []
    first, last = whole(arguments["first"]), whole(arguments["last"])
    if said[1] == "0":
        return _give_up(gateway, lane, epoch, stream, (first, last), now)
    stream.doomed.add(first, last)
    return []
