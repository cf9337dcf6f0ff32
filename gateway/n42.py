"""Alarms as N42 documents: messages of the journal in, bytes out.

Source: ANSI N42.42-2011 (IEC 62755:2012), NIST schema 0.0.54 and its schematron rules. A document
tells one occurrence. What the journal does not know is left out, and where the schema wants it all
the same it says ``unknown``. A measurement is written only where the instrument states over what
time it counted or averaged: a duration is never invented. Nuclides of persons are not in alarms.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any, Final
from uuid import NAMESPACE_URL, uuid5
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from drivers.api import Channel
from gateway.alarms.classes import DEFAULTS
from gateway.wire.table import iso

Message = Mapping[str, Any]
NAMESPACE: Final = "http://physics.nist.gov/N42/2011/N42"
UNKNOWN: Final = "unknown"
MOST_MEASUREMENTS: Final = 600
"""Of one document, own choice: ten minutes of one reading a second."""
_ILLEGAL: Final = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_NAMES: Final = frozenset(
    {
        *("AnalysisAlgorithmComponentName", "AnalysisAlgorithmComponentVersion"),
        *("AnalysisAlgorithmSettingName", "AnalysisAlgorithmSettingUnits"),
        *("AnalysisAlgorithmSettingValue", "LocationDescription", "NuclideName"),
        *("RadInstrumentComponentName", "RadInstrumentComponentVersion"),
        *("RadInstrumentDataCreatorName", "RadInstrumentIdentifier"),
        *("RadInstrumentManufacturerName", "RadInstrumentModelName"),
    }
)
"""Elements of the schema's type of texts that are not blank."""
_NAME: Final = re.compile(r"(?:[^\W_]| )*[^ \t\n\r]+(?:[^\W_]| )*")
"""That type's pattern: signs between blanks stand together in one place only."""
_COUNTS: Final = {Channel.GAMMA_COUNTS: "Gamma", Channel.NEUTRON_COUNTS: "Neutron"}


@dataclass(frozen=True, slots=True)
class Occurrence:
    """One alarm with what its detector said meanwhile.

    ``alarm`` is the newest event of its history; ``left_out`` samples were too many.
    """

    alarm: Message
    samples: Sequence[Message] = ()
    passages: Sequence[Message] = ()
    left_out: int = 0


@dataclass(frozen=True, slots=True)
class Author:
    """Who writes a document, and when (wall time)."""

    gateway: str
    version: str
    at: float


def document(occurrence: Occurrence, author: Author) -> bytes:
    """One N42 document in UTF-8."""
    alarm = occurrence.alarm
    detectors = _Detectors()
    measurements = [
        *_course(alarm),
        *_samples(occurrence.samples, detectors),
        *_passages(occurrence.passages),
    ]
    for number, measurement in enumerate(measurements, 1):
        measurement.set("id", f"m{number}")
        for of, child in enumerate(measurement.iterfind("*[@radDetectorInformationReference]"), 1):
            child.set("id", f"m{number}-{of}")
    results = _results(occurrence, author, detectors)
    root = Element("RadInstrumentData")
    root.set("xmlns", NAMESPACE)
    root.set("n42DocUUID", document_id(alarm, author.gateway))
    root.set("n42DocDateTime", iso(author.at))
    _text(root, "RadInstrumentDataCreatorName", _creator(alarm, author))
    root.append(_instrument(alarm))
    root.extend(detectors.elements())
    root.extend(measurements)
    if measurements:
        references = " ".join(measurement.get("id", "") for measurement in measurements)
        results.set("radMeasurementReferences", references)
    else:
        # Results refer to something by the schematron rules, even where no duration is known.
        group = SubElement(root, "RadMeasurementGroup", id="mg1")
        _text(group, "RadMeasurementGroupDescription", "no measurement of a known duration")
        results.set("radMeasurementGroupReferences", "mg1")
    root.append(results)
    indent(root)
    text: bytes = tostring(root, encoding="utf-8")
    return b'<?xml version="1.0" encoding="UTF-8"?>\n' + text + b"\n"


def document_id(alarm: Message, gateway: str) -> str:
    """The same UUID for the same occurrence of the same gateway, whenever it is written."""
    name = f"dosegate:{gateway}:{alarm['detector']}:{alarm['occurrence']}:{alarm['raised']}"
    return str(uuid5(NAMESPACE_URL, name))


def category(alarm: str) -> str:
    """The category code of an alarm object."""
    for word, code in (("neutron", "Neutron"), ("nuclide", "Isotope")):
        if word in alarm:
            return code
    return "Gamma" if "gamma" in alarm or "dose" in alarm else "Other"


@dataclass(slots=True)
class _Detectors:
    """Detectors inside the instrument, in the order in which something refers to them."""

    ids: dict[tuple[str, str], str] = field(default_factory=dict)

    def id(self, code: str, part: str = "") -> str:
        return self.ids.setdefault((code, part), f"d{len(self.ids) + 1}")

    def elements(self) -> Iterator[Element]:
        for (code, part), name in self.ids.items():
            element = Element("RadDetectorInformation", id=name)
            if part:
                _text(element, "RadDetectorName", part)
            _text(element, "RadDetectorCategoryCode", code)
            _text(element, "RadDetectorKindCode", "Other")
            _text(element, "RadDetectorDescription", "kind not stated by the instrument")
            yield element


def _creator(alarm: Message, author: Author) -> str:
    exercise = " EXERCISE simulated input" if alarm["exercise"] else ""
    return f"dosegate gateway {author.gateway or UNKNOWN}{exercise}"


def _instrument(alarm: Message) -> Element:
    element = Element("RadInstrumentInformation", id="instrument")
    _text(element, "RadInstrumentManufacturerName", UNKNOWN)
    _text(element, "RadInstrumentIdentifier", alarm["serial"] or alarm["detector"])
    _text(element, "RadInstrumentModelName", UNKNOWN)
    post = f", post {alarm['post']}" if alarm["post"] else ""
    members = f", of {', '.join(alarm['members'])}" if alarm["members"] else ""
    _text(element, "RadInstrumentDescription", f"detector {alarm['detector']}{post}{members}")
    known = alarm["class"] in DEFAULTS
    _text(element, "RadInstrumentClassCode", alarm["class"] if known else "Other")
    version = SubElement(element, "RadInstrumentVersion")
    _text(version, "RadInstrumentComponentName", "Software")
    _text(version, "RadInstrumentComponentVersion", UNKNOWN)
    return element


def _course(alarm: Message) -> Iterator[Element]:
    """The time from the first to the last sample that satisfied the condition, if any passed."""
    if alarm["lasted"] > 0:
        element = _measurement(alarm["raised"], alarm["lasted"])
        element.insert(0, _remark("the time over which the condition of the alarm was met"))
        element.append(_state(alarm))
        yield element


def _state(alarm: Message) -> Element:
    element = Element("RadInstrumentState", radInstrumentInformationReference="instrument")
    if alarm["exercise"]:
        _text(element, "RadInstrumentModeCode", "Test")
        _text(element, "RadInstrumentModeDescription", "exercise: simulated input")
    position = alarm["position"]
    if position is not None:
        point = SubElement(SubElement(element, "StateVector"), "GeographicPoint")
        for name, key in (
            ("LatitudeValue", "latitude"),
            ("LongitudeValue", "longitude"),
            ("GeoPointAccuracyValue", "accuracy"),
        ):
            if position[key] is not None:
                _text(point, name, _number(position[key]))
    elif alarm["post"]:
        _text(SubElement(element, "StateVector"), "LocationDescription", f"post {alarm['post']}")
    return element


def _samples(samples: Iterable[Message], detectors: _Detectors) -> Iterator[Element]:
    for sample in samples:
        if sample["time"] is None:
            continue
        windows: dict[float, list[Message]] = {}
        for reading in sample["readings"]:
            if reading["window_s"] and _is_written(reading):
                windows.setdefault(reading["window_s"], []).append(reading)
        for window_s, readings in windows.items():
            began = datetime.fromisoformat(sample["time"]).timestamp() - window_s
            element = _measurement(iso(began), window_s)
            element.extend(_counts(each, detectors) for each in readings if _is_count(each))
            element.extend(_dose_rate(each, detectors) for each in readings if not _is_count(each))
            if sample["occupied"] is not None:
                _text(element, "OccupancyIndicator", str(sample["occupied"]).lower())
            yield element


def _is_count(reading: Message) -> bool:
    return reading["channel"] in _COUNTS


def _is_written(reading: Message) -> bool:
    """Counts that are a number, and dose rates with or without one."""
    if _is_count(reading):
        return reading["unit"] == "count" and reading["value"] is not None
    return bool(reading["channel"] == Channel.DOSE_RATE and reading["unit"] == "µSv/h")


def _counts(reading: Message, detectors: _Detectors) -> Element:
    detector = detectors.id(_COUNTS[reading["channel"]], reading["part"])
    element = Element("GrossCounts", radDetectorInformationReference=detector)
    _text(element, "LiveTimeDuration", duration(reading["window_s"]))
    _text(element, "CountData", _number(reading["value"]))
    return element


def _dose_rate(reading: Message, detectors: _Detectors) -> Element:
    detector = detectors.id("Gamma", reading["part"])
    element = Element("DoseRate", radDetectorInformationReference=detector)
    value, bound = reading["value"], reading["lower_bound"]
    is_written = value is not None and value >= 0
    if is_written:
        _text(element, "DoseRateValue", _number(value))
    words = list(reading["flags"])
    if value is None:
        words.append("no number" if bound is None else f"at least {_number(bound)} µSv/h")
    elif not is_written:
        words.append(f"below zero: {_number(value)} µSv/h")
    if words:
        _text(element, "DoseRateLevelDescription", ", ".join(words))
    return element


def _passages(passages: Iterable[Message]) -> Iterator[Element]:
    for passage in passages:
        if passage["start"] is None or passage["end"] is None:
            continue
        began, ended = (datetime.fromisoformat(passage[key]) for key in ("start", "end"))
        lasted_s = round((ended - began).total_seconds(), 3)
        if lasted_s <= 0:
            continue
        element = _measurement(passage["start"], lasted_s)
        words = [
            f"largest {kind} value {_number(passage[f'{kind}_max'])}"
            f" ({passage[f'{kind}_max_basis'] or 'basis not stated'})"
            for kind in ("gamma", "neutron")
            if passage[f"{kind}_max"] is not None
        ]
        if words:
            element.insert(0, _remark("; ".join(words)))
        _text(element, "OccupancyIndicator", "true")
        yield element


def _measurement(start: str, seconds: float) -> Element:
    element = Element("RadMeasurement")
    _text(element, "MeasurementClassCode", "Foreground")
    _text(element, "StartDateTime", start)
    _text(element, "RealTimeDuration", duration(seconds))
    return element


def _results(occurrence: Occurrence, author: Author, detectors: _Detectors) -> Element:
    alarm = occurrence.alarm
    rule = alarm["rule"]
    element = Element("AnalysisResults", id="results")
    if occurrence.left_out:
        element.append(_remark(f"{occurrence.left_out} more samples are in the journal"))
    _text(element, "AnalysisStartDateTime", alarm["raised"])
    _text(element, "AnalysisAlgorithmName", rule["id"])
    _text(element, "AnalysisAlgorithmCreatorName", "dosegate")
    for name, version in ((rule["id"], rule["version"]), ("dosegate", author.version)):
        component = SubElement(element, "AnalysisAlgorithmVersion")
        _text(component, "AnalysisAlgorithmComponentName", name)
        _text(component, "AnalysisAlgorithmComponentVersion", str(version))
    _settings(element, rule["parameters"])
    _text(element, "AnalysisResultStatusCode", "Success")
    _text(element, "AnalysisResultDescription", _described(alarm))
    _alarms(element, alarm, detectors)
    _nuclides(element, alarm)
    _figures(element, alarm)
    return element


def _settings(element: Element, parameters: Message) -> None:
    """The rule's parameters; their units are in their names."""
    for name, value in parameters.items():
        setting = SubElement(element, "AnalysisAlgorithmSetting")
        _text(setting, "AnalysisAlgorithmSettingName", name)
        _text(setting, "AnalysisAlgorithmSettingValue", value)
        _text(setting, "AnalysisAlgorithmSettingUnits", "in the name")


def _described(alarm: Message) -> str:
    words = [f"occurrence {alarm['occurrence']}", f"priority {alarm['priority']}"]
    if alarm["closed_at"]:
        unverified = ", not verified normal" if alarm["closed_unverified"] else ""
        words.append(f"closed {alarm['closed_at']}{unverified}")
    else:
        words.append("active" if alarm["active"] else "returned, not closed")
    words += [key for key in ("indicative", "test_source", "stale", "exercise") if alarm[key]]
    if alarm["peak"] is None and alarm["lower_bound"] is not None:
        words.append(f"at least {_number(alarm['lower_bound'])} {alarm['unit']}")
    if "medical" in alarm["device_alarms"]:
        words.append("the instrument names a medical nuclide")
    words += list(alarm["flags"])
    if alarm["text"]:
        words.append(alarm["text"])
    return "; ".join(words)


def _alarms(element: Element, alarm: Message, detectors: _Detectors) -> None:
    """One alarm for each level that was reached."""
    code = category(alarm["alarm"])
    reference = detectors.id(code if code in ("Gamma", "Neutron") else "Other")
    for level in alarm["levels"]:
        one = SubElement(element, "RadAlarm", radDetectorInformationReferences=reference)
        _text(one, "RadAlarmDateTime", level["at"])
        _text(one, "RadAlarmCategoryCode", code)
        _text(one, "RadAlarmDescription", _alarm_text(alarm, level["level"]))


def _alarm_text(alarm: Message, level: str) -> str:
    words = [f"{alarm['alarm']} {level}"]
    parameters = alarm["rule"]["parameters"]
    if parameters.get("level") == level and "raise_usv_h" in parameters:
        words.append(f"at or above {parameters['raise_usv_h']} µSv/h")
    if alarm["peak"] is not None:
        unit = "" if alarm["unit"] == "1" else f" {alarm['unit']}"
        words.append(f"peak {_number(alarm['peak'])}{unit}")
    return ", ".join(words)


def _nuclides(element: Element, alarm: Message) -> None:
    """What the instrument named and the alarm may tell: no nuclide of a person."""
    if alarm["alarm"] != "nuclide":
        return
    results = SubElement(element, "NuclideAnalysisResults")
    for told in alarm["device_alarms"]:
        group, colon, name = told.partition(":")
        if not colon:
            continue
        nuclide = SubElement(results, "Nuclide")
        _text(nuclide, "NuclideIdentifiedIndicator", "true")
        _text(nuclide, "NuclideName", name)
        share = alarm["statistic"].get(told)
        if isinstance(share, int | float):
            percent = format(Decimal(repr(share)) * 100, "f")
            _text(nuclide, "NuclideIDConfidenceValue", percent)
        else:
            _text(nuclide, "NuclideIDConfidenceDescription", "not stated by the instrument")
        _text(nuclide, "NuclideCategoryDescription", group)


def _figures(element: Element, alarm: Message) -> None:
    """The peak, in the element of its unit."""
    peak = alarm["peak"]
    if peak is None or peak < 0:
        return
    for unit, group, name in (
        ("1/s", "GrossCountAnalysisResults", "MaximumCountRateValue"),
        ("µSv/h", "DoseAnalysisResults", "MaximumDoseRateValue"),
        ("µSv", "DoseAnalysisResults", "TotalDoseValue"),
    ):
        if alarm["unit"] == unit:
            figures = SubElement(element, group)
            _text(figures, name, _number(peak))
            if name == "TotalDoseValue":  # the schema gives this one an id
                figures[0].set("id", "dose")


def duration(seconds: float) -> str:
    """A positive time in s as ISO 8601."""
    return f"PT{format(Decimal(repr(seconds)), 'f')}S"


def _number(value: float) -> str:
    """The shortest digits of the very same number."""
    return repr(value)


def _remark(text: str) -> Element:
    element = Element("Remark")
    element.text = _ILLEGAL.sub("?", text)
    return element


def _text(parent: Element, name: str, text: object) -> None:
    """A child with a text; characters that XML does not have are question marks."""
    legal = _ILLEGAL.sub("?", str(text))
    if name in _NAMES and not _NAME.fullmatch(legal):
        # The same words with blanks that do not break, which the pattern takes for signs.
        legal = "\N{NO-BREAK SPACE}".join(legal.split()) or UNKNOWN
    SubElement(parent, name).text = legal
