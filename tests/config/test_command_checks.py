"""Commands over MQTT need somebody who may give them; what the old protocol hides is said."""

from pathlib import Path

from config.loader import examine
from config.problem import Severity, format_problem

GATEWAY = '[gateway]\nid = "north"\n'
SINK = '[[sink]]\nid = "hall"\nbrokers = ["mqtt://b"]\n'
USER = '[[user]]\nid = "olga"\nroles = ["operator", "assessor"]\n'


def said(folder: Path, text: str, severity: Severity) -> list[str]:
    path = folder / "dosegate.toml"
    path.write_text(text)
    return [format_problem(one) for one in examine(path).problems if one.severity is severity]


def test_commands_without_users_are_refused(tmp_path: Path) -> None:
    (problem,) = said(tmp_path, GATEWAY + SINK + "commands = true\n", Severity.ERROR)
    assert "sink[0] (id hall).commands: commands are taken over MQTT, but nobody" in problem
    assert "add [[user]]" in problem


def test_with_users_they_are_taken(tmp_path: Path) -> None:
    text = GATEWAY + USER + SINK + "commands = true\n"
    assert not said(tmp_path, text, Severity.ERROR)
    assert not said(tmp_path, text, Severity.ADVICE)


def test_off_they_need_nobody(tmp_path: Path) -> None:
    assert not said(tmp_path, GATEWAY + SINK + "commands = false\n", Severity.ERROR)


def test_the_older_protocol_is_allowed_and_its_loss_said(tmp_path: Path) -> None:
    text = GATEWAY + USER + SINK + 'commands = true\nprotocol = "3.1.1"\n'
    assert not said(tmp_path, text, Severity.ERROR)
    (advice,) = said(tmp_path, text, Severity.ADVICE)
    assert "may look like an accepted one" in advice
