"""What scenarios may ask of simulated instruments is what these can play."""

import random

import pytest

from config.actions import Identify, InstrumentState, WrongSerial
from config.scenario_event_checks import _PLAYS, _SAY_THEIR_SERIAL
from drivers import registry as drivers
from simulators.acting import CannotAct, _tell
from simulators.api import HasSerial, HasStates, Identifies
from simulators.registry import find

SERIAL = {"gq-gmc": "00112233445566", "thermo-radeye": "7", "bgeigie-nmea": "7"}


@pytest.mark.parametrize("name", drivers.names())
def test_the_checks_know_what_an_instrument_plays(name: str) -> None:
    instrument = find(name)({}, random.Random(1), None)
    assert isinstance(instrument, HasStates)
    named = {"identify"} if isinstance(instrument, Identifies) else set()
    assert instrument.states | named == _PLAYS[name]
    assert isinstance(instrument, HasSerial) is (name in _SAY_THEIR_SERIAL)


@pytest.mark.parametrize("name", drivers.names())
def test_it_plays_them_and_refuses_others(name: str) -> None:
    instrument = find(name)({}, random.Random(1), None)
    assert isinstance(instrument, HasStates)
    for state in _PLAYS["json-lines"] - {"identify"}:
        event = InstrumentState.model_validate({"at_s": 1, "do": state, "detector": "d"})
        if state in instrument.states:
            _tell(event, instrument)
        else:
            with pytest.raises(CannotAct):
                _tell(event, instrument)
    if not isinstance(instrument, Identifies):
        nuclide = {"at_s": 1, "do": "identify", "detector": "d", "nuclide": "I-131"}
        with pytest.raises(CannotAct):
            _tell(Identify.model_validate(nuclide), instrument)
    if isinstance(instrument, HasSerial):
        other = {"at_s": 1, "do": "wrong_serial", "detector": "d"}
        other |= {"serial_number": SERIAL.get(name, "7")}
        _tell(WrongSerial.model_validate(other), instrument)


@pytest.mark.parametrize("name", drivers.names())
def test_a_setting_nobody_has_is_refused_by_name(name: str) -> None:
    with pytest.raises(ValueError, match="colour"):
        find(name)({"colour": "red"}, random.Random(1), None)
