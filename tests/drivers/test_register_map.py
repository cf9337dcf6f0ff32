"""Register maps are read strictly: every mistake names file, table, key and what is allowed."""

import pytest

from drivers.api import Channel, Quantity, Verified
from drivers.codec.words import Item, WordOrder, WordType
from drivers.register_map import MapError, parse_map

GOOD = """
name = "toyreg"
title = "Toy"
source = "none; the instrument does not exist"
verified = "constructed"
classes = ["Other"]
links = ["modbus_tcp"]
silence_s = 1.0

[poll]
idle_s = 1.0
active_s = 0.2
active_while = ["occupied", "alarm"]

[[block]]
name = "about"
read = "once"
function = 3
address = 0
count = 4

[[block]]
name = "values"
read = "cycle"
function = 4
address = 100
count = 8
base_from = { block = "about", base = 1, length = 2, min_length = 8 }

[[identity]]
name = "serial"
block = "about"
offset = 0
type = "u16"
form = "hex"

[[field]]
name = "counts"
block = "values"
offset = 0
type = "u32"
words = "low_first"
channel = "gamma_counts"
quantity = "gamma_counts"
unit = "count"
invalid = [4294967295]
valid_while = { word = "status", bit = 7 }

[[field]]
name = "neutrons"
block = "values"
offset = 2
type = "f32"
words = "high_first"
channel = "neutron_counts"
quantity = "neutron_counts"
unit = "count"

[[field]]
name = "number"
block = "values"
offset = 4
type = "u16"

[[bits]]
name = "status"
block = "values"
offset = 5

[bits.bit]
0 = { alarm = "gamma" }
1 = { alarm = "neutron" }
2 = { fault = "broken" }
3 = { occupied = true }
4 = { flag = "warming_up" }

[passage]
counter = "number"
gamma_alarm = ["gamma"]
neutron_alarm = ["neutron"]
gamma_max = "counts"
gamma_basis = "interval"
neutron_max = "neutrons"
neutron_basis = "interval"
"""


def test_a_good_map() -> None:
    plan = parse_map("toyreg.toml", GOOD)
    assert plan.name == "toyreg"
    assert plan.verified is Verified.CONSTRUCTED
    assert [block.count for block in plan.blocks] == [4, 8]
    counts = plan.fields[0]
    assert counts.item == Item(0, WordType.U32, WordOrder.LOW_FIRST)
    assert counts.published is not None
    assert counts.published.channel is Channel.GAMMA_COUNTS
    assert counts.published.quantity is Quantity.GAMMA_COUNTS
    assert plan.fields[2].published is None


@pytest.mark.parametrize(
    ("before", "after", "says"),
    [
        ('title = "Toy"', 'title = "Toy"\ncolour = 1', "colour: unknown key; allowed: "),
        ('title = "Toy"', "", "title: is missing"),
        ('"constructed"', '"perhaps"', "'perhaps' is not one of captured, documented, constructed"),
        ('["modbus_tcp"]', '["tcp"]', "'tcp' is not one of modbus_tcp, modbus_rtu"),
        ("silence_s = 1.0", "silence_s = 0", "silence_s: 0 is not above 0"),
        ("idle_s = 1.0", "idle_s = 1.0\npause = 2", "poll.pause: unknown key"),
        ('["occupied", "alarm"]', '["raining"]', "'raining' is not one of occupied, alarm"),
        ("function = 4", "function = 6", "block[2].function: 6 is not a whole number from 3 to 4"),
        ("address = 100", "address = 65530", "block[2].count: 8 is not a whole number from 1 to 6"),
        ("count = 8", "count = 126", "block[2].count: 126"),
        ('name = "values"', 'name = "about"', "block[2].name: 'about' is there twice"),
        ("base = 1", "base = 4", "block[2].base_from.base: 4"),
        ('{ block = "about"', '{ block = "values"', "'values' is not one of about"),
        ('block = "about"\noffset', 'block = "values"\noffset', "'values' is not one of about"),
        ("offset = 2", "offset = 1", "field[2].offset: register 1 belongs to 'counts' already"),
        ("offset = 5", "offset = 4", "bits[1].offset: register 4 belongs to 'number' already"),
        ("offset = 4\n", "offset = 8\n", "field[3].offset: 8 is not a whole number from 0 to 7"),
        ("offset = 2\n", "offset = 7\n", "field[2].offset: 7 is not a whole number from 0 to 6"),
        ('type = "f32"', 'type = "f16"', "field[2].type: 'f16' is not one of u16"),
        ('words = "high_first"', "", "field[2].words: is missing"),
        ('words = "high_first"', 'words = "swapped"', "is not one of high_first, low_first"),
        ('channel = "gamma_counts"', 'channel = "gamma"', "field[1].channel: 'gamma' is not one"),
        ('channel = "gamma_counts"', 'channel = "tamper"', "tamper is not a number in registers"),
        ('channel = "neutron_counts"', 'channel = "gamma_counts"', "told twice; use part"),
        ('unit = "count"\ninvalid', 'unit = "Bq"\ninvalid', "field[1].unit: 'Bq' is not a unit"),
        ('quantity = "gamma_counts"', 'quantity = "counts"', "field[1].quantity: 'counts' is not"),
        ("invalid = [4294967295]", 'invalid = ["none"]', "is not a list of numbers"),
        ('{ word = "status", bit', '{ word = "state", bit', "'state' is not one of status"),
        ("bit = 7 }", "bit = 16 }", "16 is not a whole number from 0 to 15"),
        ("bit = 7 }", "bit = 7, expr = 1 }", "field[1].valid_while.expr: unknown key"),
        ('"warming_up"', '"warm"', "'warm' is not one of "),
        ("4 = { flag", "16 = { flag", "is not the number of a bit, 0 to 15"),
        ('2 = { fault = "broken" }', '2 = { smell = "bad" }', "unknown key"),
        ('2 = { fault = "broken" }', '2 = { fault = "a", tamper = "b" }', "needs exactly one of"),
        ("3 = { occupied = true }", "", "poll.active_while: no bit says occupied"),
        ('counter = "number"', 'counter = "neutrons"', "passage.counter: 'neutrons' is not one of"),
        ('counter = "number"', 'counter = "counts"', "passage.counter: 'counts' is not one of"),
        ('gamma_alarm = ["gamma"]', 'gamma_alarm = ["beta"]', "'beta' is not one of gamma, neut"),
        ('gamma_max = "counts"', 'gamma_max = "number"', "'number' is not one of counts, neutrons"),
    ],
)
def test_a_mistake_is_named(before: str, after: str, says: str) -> None:
    assert before in GOOD
    with pytest.raises(MapError) as caught:
        parse_map("toyreg.toml", GOOD.replace(before, after, 1))
    assert str(caught.value).startswith("toyreg.toml: ")
    assert says in str(caught.value)


def test_a_word_of_another_block_explains_nothing() -> None:
    other = """
[[block]]
name = "more"
read = "cycle"
function = 4
address = 200
count = 1

[[field]]
name = "rate"
block = "more"
offset = 0
type = "u16"
channel = "gamma_count_rate"
quantity = "gamma_count_rate"
unit = "1/s"
valid_while = { word = "status", bit = 7 }
"""
    with pytest.raises(MapError, match=r"field\[4\]\.valid_while\.word"):
        parse_map("toyreg.toml", GOOD + other)


def test_not_toml() -> None:
    with pytest.raises(MapError, match=r"toyreg\.toml: .*not TOML"):
        parse_map("toyreg.toml", "name = ")
