"""Names on a map: apart from each other, near their places, always the same."""

from itertools import combinations

import pytest

from gateway.plot.labels import Labels, is_beside, overlap

INSIDE = (0.0, 0.0, 180.0, 90.0)


def named(count: int) -> Labels:
    """A row of places close together, with long names."""
    labels = Labels(INSIDE)
    for number in range(count):
        labels.place(30 + number * 10.0, 45.0, 60.0)
    return labels


def test_names_of_places_close_together_do_not_cover_each_other():
    for one, other in combinations(named(14).names, 2):
        assert overlap(one, (other,)) == 0.0


def test_names_stay_on_the_map():
    for left, low, right, high in named(14).names:
        assert 0 <= left < right <= INSIDE[2]
        assert 0 <= low < high <= INSIDE[3]


def test_the_same_names_stand_at_the_same_places():
    assert named(14).names == named(14).names


@pytest.mark.parametrize(("x", "side"), [(20.0, 1), (170.0, -1)])
def test_a_name_with_room_stands_beside_its_place(x: float, side: int):
    offset = Labels(INSIDE).place(x, 45.0, 60.0)
    assert is_beside(offset)
    assert (offset[0] * side > 0, offset[1]) == (True, 0.0)


def test_a_name_leaves_a_mark_free_where_it_can():
    labels = Labels(INSIDE)
    mark = (25.0, 41.0, 60.0, 49.0)
    labels.keep_clear(mark)
    labels.place(20.0, 45.0, 60.0)
    assert overlap(labels.names[0], (mark,)) == 0.0
