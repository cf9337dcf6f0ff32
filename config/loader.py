"""The configuration file: everything that is wrong with it in one run, or the configuration."""

from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from config.checks import check_configuration
from config.document import read_document
from config.drivers import default_class
from config.explain import explain
from config.models import Configuration
from config.problem import ConfigErrors, Problem, Severity
from config.tables import Table, text


@dataclass(frozen=True, slots=True)
class Examination:
    """What was found in a file; the configuration is None exactly when there is an error."""

    configuration: Configuration | None
    problems: tuple[Problem, ...]


def load(path: Path) -> Configuration:
    """The configuration in a file. Raises ConfigErrors with every error of the file."""
    examination = examine(path)
    if examination.configuration is None:
        raise ConfigErrors(examination.problems)
    return examination.configuration


def examine(path: Path) -> Examination:
    """The configuration together with advice; never raises for what the file says."""
    try:
        findings = read_document(path)
    except ConfigErrors as errors:
        return Examination(None, errors.problems)
    configuration = None
    try:
        configuration = Configuration.model_validate(complete(findings.data))
    except ValidationError as error:
        explain(findings, Configuration, error.errors(include_url=False))
    check_configuration(findings)
    problems = findings.in_order()
    has_error = any(problem.severity is Severity.ERROR for problem in problems)
    return Examination(None if has_error else configuration, problems)


def complete(data: Table) -> Table:
    """The same data, except that detectors without a class have their driver's."""
    detectors = data.get("detector")
    if not isinstance(detectors, list):
        return data
    return data | {"detector": [_classed(each) for each in detectors]}


def _classed(detector: object) -> object:
    if not isinstance(detector, dict) or "class" in detector:
        return detector
    driver = text(detector, "driver")
    name = default_class(driver) if driver is not None else None
    return detector | {"class": name} if name else detector
