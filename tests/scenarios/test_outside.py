"""What somebody who knew the documentation alone has found."""

import pytest


@pytest.mark.parametrize(
    "name", ["hidden-in-rain.toml", "blind-while-alarming.toml", "stepped-restart.toml"]
)
def test_it_goes_as_the_documentation_says(play, name):
    assert play(name).failed == []


def test_a_rise_lasts_as_long_as_its_source(play):
    """Without its windows: the source is there for 500 s."""
    ((_, returned),) = play("hidden-in-rain.toml").find("returned", alarm="gamma_rise")
    assert returned["lasted"] == pytest.approx(492, abs=8)
