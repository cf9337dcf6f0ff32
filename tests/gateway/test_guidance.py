"""The texts a person reads: complete, short, never an order that is the commander's to give."""

import json
import re
from itertools import product
from pathlib import Path

import pytest

from config.problem import ConfigErrors
from gateway import cli
from gateway.guidance.catalogue import CLASSES, Text, load, reader_language
from gateway.guidance.codes import CODES, code_of

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = ROOT / "config" / "examples" / "guidance"
SHIPPED = load()
PRD, AREA = "Personal Radiation Detector", "Network Area Monitor"


@pytest.fixture
def site(tmp_path):
    def write(**languages):
        for name, text in languages.items():
            (tmp_path / f"{name}.toml").write_text(text, encoding="utf-8")
        return tmp_path

    return write


@pytest.fixture
def call(capsys, monkeypatch):
    def run(*words, **environ):
        for name in ("LC_ALL", "LC_MESSAGES", "LANG"):
            monkeypatch.delenv(name, raising=False)
        for name, value in environ.items():
            monkeypatch.setenv(name, value)
        code = cli.main(["guidance", *map(str, words)])
        told = capsys.readouterr()
        return code, told.out, told.err

    return run


def errors_of(folder):
    with pytest.raises(ConfigErrors) as caught:
        load(folder)
    return str(caught.value)


def texts_of(catalogue, language):
    """Every different text of a language, with the code it belongs to."""
    found = {}
    for code in catalogue.codes():
        for name in (None, *CLASSES):
            text = catalogue.text(code, name, language)
            if text.language == language:
                found[text] = code
    return found


# The shipped texts


@pytest.mark.parametrize(("language", "code"), tuple(product(SHIPPED.languages(), CODES)))
def test_every_code_is_told_in_every_shipped_language(language, code):
    for name in (None, *CLASSES):
        text = SHIPPED.text(code, name, language)
        assert text.language == language
        assert 0 < len(text.title) <= 40
        assert 0 < len(text.advice) <= 300
        assert 1 <= len(re.findall(r"[.?!](?=\s|$)|[。？！]", text.advice)) <= 3


def test_english_and_chinese_are_shipped_and_searched_for_orders():
    assert SHIPPED.languages() == ("en", "zh")
    assert set(ORDERS) == set(DECIDERS) == set(NEVER) == {"en", "zh", "fr"}


@pytest.mark.parametrize("code", CODES)
def test_the_same_classes_have_special_texts_in_every_language(code):
    english, *others = (SHIPPED.special(code, each) for each in SHIPPED.languages())
    assert all(other == english for other in others)


def test_the_class_changes_the_advice():
    assert "0.55 m" in SHIPPED.text("R5", "Dosimeter", "en").advice
    assert "0.55 m" in SHIPPED.text("R5", PRD, "zh").advice
    assert "0.55 m" not in SHIPPED.text("R5", AREA, "en").advice
    assert "30 µSv/h" in SHIPPED.text("R8", "Backpack", "en").advice
    assert "30 µSv/h" in SHIPPED.text("R8", "Mobile System", "zh").advice
    assert "ship effect" in SHIPPED.text("N1", "Portal Monitor", "en").advice
    assert "wearer" in SHIPPED.text("silence", PRD, "en").advice
    assert "wearer" not in SHIPPED.text("silence", AREA, "en").advice


ORDERS = {
    "en": (
        r"evacuat\w*|cordon(?! level)|arrest|detain|seal off|clear the (area|stand|stadium|site)"
        r"|(stop|cancel|interrupt|end) the (event|match|show|concert)|release|let \w+ go"
        r"|protective actions?"
    ),
    "zh": (
        r"疏散|撤离|警戒区(?!水平)|封锁|逮捕|拘留|扣留|扣押|放行|释放|防护行动"
        r"|(停止|中止|取消|结束)(活动|比赛|演出)"
    ),
    "fr": (
        r"évacu\w*|périmètre|arrêt(er|ez)|détenir|retenez|boucl(er|ez)|relâch\w*|libér\w*"
        r"|(interromp\w*|annul\w*) l"
    ),
}
DECIDERS = {
    "en": r"(commander|assessor)'s decision",
    "zh": r"由(指挥员|评估员)(.*)决定",
    "fr": r"décision d(u commandant|e l'évaluateur)",
}
NEVER = {
    "en": (
        r"\bsafe(ly)?\b|harmless|no danger|not dangerous|innocent|is confirmed|certainly"
        r"|(?<!no )all-clear"
    ),
    "zh": (
        r"安全|无害|没有危险|无危险|不危险|放心|已证实|确定为|确认为|无需担心"
        r"|(?<!并不表示)(危险|警报)已?解除"
    ),
    "fr": r"sans danger|inoffensi\w*|\bsûre?\b|aucun danger|confirmé",
}
EVERY_TEXT = [
    (language, code, text)
    for catalogue, languages in ((SHIPPED, SHIPPED.languages()), (load(EXAMPLE), ("en", "fr")))
    for language in languages
    for text, code in texts_of(catalogue, language).items()
]


def ordered(text):
    """The sentences that name what is not ours to decide without saying whose decision it is."""
    sentences = re.split(r"(?<=[.;!?])\s+|[。；！？]", text.advice)
    orders, decider = ORDERS[text.language], DECIDERS[text.language]
    return [
        each
        for each in sentences
        if re.search(orders, each, re.IGNORECASE) and not re.search(decider, each)
    ]


@pytest.mark.parametrize(("language", "code", "text"), EVERY_TEXT)
def test_no_text_orders_what_is_the_commanders_or_calls_anybody_safe(language, code, text):
    assert ordered(text) == []
    words = f"{text.title}. {text.advice}"
    assert not re.search(NEVER[language], words, re.IGNORECASE)


@pytest.mark.parametrize(
    ("language", "advice"),
    [
        ("en", "Step back. Evacuate the stand."),
        ("en", "Set up a cordon at 30 m."),
        ("en", "Detain the person; the commander's decision follows."),
        ("zh", "请后退。立即疏散人群。"),
        ("zh", "请设置警戒区。"),
        ("fr", "Reculez. Évacuez la tribune."),
    ],
)
def test_an_order_would_be_found(language, advice):
    assert ordered(Text("", advice, language))


# Which text


@pytest.mark.parametrize(
    ("alarm", "level", "code"),
    [
        ("dose_rate", "R5", "R5"),
        ("neutron_rise", "N1", "N1"),
        ("dose", "D3", "D3"),
        ("nuclide", "I2", "I2"),
        ("silence", "H1", "silence"),
        ("battery", "H2", "battery"),
        ("portal_neutron", "device", "portal_neutron"),
        ("device_neutron", "device", "device_neutron"),
        ("device_gamma", "device", "device"),
        ("device_alarm", "device", "device"),
        ("something_new", "H1", "something_new"),
    ],
)
def test_the_level_goes_before_the_alarm_object(alarm, level, code):
    assert code_of(alarm, level) == code


def test_the_language_goes_before_english_and_the_class_before_the_general_text(site):
    folder = site(
        fr='[R5]\ntitle = "F"\nadvice = "f"\n[[R5.for]]\nclasses = ["Dosimeter"]\nadvice = "fd"\n'
        '[[R8.for]]\nclasses = ["Backpack"]\ntitle = "B"\nadvice = "fb"\n'
    )
    catalogue = load(folder)
    assert catalogue.text("R5", "Dosimeter", "fr") == Text("F", "fd", "fr")
    assert catalogue.text("R5", PRD, "fr") == Text("F", "f", "fr")
    assert catalogue.text("R8", "Backpack", "fr") == Text("B", "fb", "fr")
    assert catalogue.text("R8", "Mobile System", "fr") == SHIPPED.text("R8", "Mobile System", "en")
    assert catalogue.text("R3", PRD, "fr") == SHIPPED.text("R3", None, "en")
    assert catalogue.text("R9", PRD, "fr") == Text("R9", "", "")
    assert catalogue.languages() == ("en", "fr", "zh")


def test_an_unknown_class_is_told_the_general_text():
    assert SHIPPED.text("R5", "", "en") == SHIPPED.text("R5", None, "en")
    assert SHIPPED.text("R5", "A new class", "en") == SHIPPED.text("R5", None, "en")


@pytest.mark.parametrize("language", ["zh", "zh-CN", "zh_CN", "ZH", "zh-Hant-TW"])
def test_a_region_or_script_falls_back_to_its_language(language):
    assert SHIPPED.text("R5", None, language).language == "zh"


def test_a_script_may_have_texts_of_its_own(site):
    catalogue = load(site(**{"zh-hant": '[R4]\ntitle = "警示水準"\nadvice = "不要再靠近。"\n'}))
    assert catalogue.text("R4", None, "zh-Hant").language == "zh-hant"
    assert catalogue.text("R5", None, "zh-Hant").language == "zh"
    assert catalogue.text("R4", None, "zh").language == "zh"


@pytest.mark.parametrize(
    ("environ", "language"),
    [
        ({}, "en"),
        ({"LANG": "zh_CN.UTF-8"}, "zh"),
        ({"LANG": "zh"}, "zh"),
        ({"LANG": "de_DE@euro"}, "de"),
        ({"LANG": "fr_FR.UTF-8", "LC_MESSAGES": "zh_CN"}, "zh"),
        ({"LANG": "fr_FR.UTF-8", "LC_MESSAGES": "zh_CN", "LC_ALL": "de_DE"}, "de"),
        ({"LANG": "zh_CN.UTF-8", "LC_ALL": ""}, "zh"),
        ({"LANG": "zh_CN.UTF-8", "LC_ALL": "C.UTF-8"}, "en"),
        ({"LANG": "POSIX"}, "en"),
        ({"LANG": "english"}, "en"),
    ],
)
def test_the_readers_language(environ, language):
    assert reader_language(environ) == language


# A site's own texts


def test_single_texts_are_laid_over_the_shipped_ones(site):
    catalogue = load(
        site(
            en='[R4]\nadvice = "Call channel 7."\n'
            f'[[R5.for]]\nclasses = ["{PRD}"]\nadvice = "Channel 7."\n'
        )
    )
    assert catalogue.text("R4", None, "en") == Text("Caution level", "Call channel 7.", "en")
    assert catalogue.text("R4", AREA, "en") == SHIPPED.text("R4", AREA, "en")
    assert catalogue.text("R5", PRD, "en") == Text("Cordon level", "Channel 7.", "en")
    assert catalogue.text("R5", "Dosimeter", "en") == SHIPPED.text("R5", "Dosimeter", "en")
    assert texts_of(catalogue, "zh") == texts_of(SHIPPED, "zh")


def test_the_example_adds_a_language_and_changes_english():
    catalogue = load(EXAMPLE)
    assert catalogue.languages() == ("en", "fr", "zh")
    assert catalogue.text("R8", None, "fr").title == "Hors gamme"
    assert catalogue.text("R5", PRD, "fr") != catalogue.text("R5", None, "fr")
    assert "channel 7" in catalogue.text("R4", None, "en").advice
    assert catalogue.text("R5", AREA, "en").title == "Cordon level at a mast"


def test_line_ends_count_as_blanks(site):
    catalogue = load(site(en='[R4]\nadvice = """\nOne.\n   Two.\n"""\n'))
    assert catalogue.text("R4", None, "en").advice == "One. Two."


@pytest.mark.parametrize(
    ("text", "line", "key", "hint"),
    [
        ('[R4]\nadvice = "a"\n\n[R55]\nadvice = "a"\n', 4, "R55: unknown key", "'R5'"),
        ('[R4]\nadvise = "a"\n', 2, "R4.advise: unknown key", "'advice'"),
        ("[R4]\nadvice = 4\n", 2, "R4.advice: needs text in quotes", 'write "4"'),
        ('R4 = "a"\n', 1, "R4: needs a table", ""),
        ('[R4]\nadvice = " "\n', 2, "R4.advice: is empty", ""),
        (f'[R4]\ntitle = "{"t" * 41}"\n', 2, "R4.title: has 41 characters", "at most 40"),
        (f'[R4]\nadvice = "{"t" * 301}"\n', 2, "R4.advice: has 301 characters", "at most 300"),
        (
            '[[R4.for]]\nclasses = ["Dosimeter",\n"Backpak"]\nadvice = "a"\n',
            3,
            "R4.for[0].classes[1]: 'Backpak' is not one of",
            "'Backpack'",
        ),
        ('[[R4.for]]\nclasses = []\nadvice = "a"\n', 2, "R4.for[0].classes: needs at least", ""),
        ('[[R4.for]]\nclasses = ["Other"]\n', 1, "R4.for[0].advice: the key is missing", ""),
        ('[R4.for]\nadvice = "a"\n', 1, "R4.for: needs a list", "[[for]]"),
        (
            '[[R4.for]]\nclasses = ["Other"]\nadvice = "a"\n'
            '[[R4.for]]\nclasses = ["Other"]\nadvice = "b"\n',
            5,
            "R4.for[1].classes[0]: 'Other' has a text already",
            "see line 2",
        ),
        ("[R4\n", 1, "not TOML", ""),
    ],
)
def test_a_mistake_is_named_with_its_place(site, text, line, key, hint):
    folder = site(en=text)
    told = errors_of(folder)
    assert f"{folder}/en.toml:{line}: {key}" in told
    assert hint in told


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ('[R4]\nadvice = "a"\n', "fr.toml:1: R4.title: the key is missing"),
        ('[R4]\ntitle = "t"\n', "fr.toml:1: R4.advice: the key is missing"),
        ('[[R4.for]]\nclasses = ["Other"]\nadvice = "a"\n', "R4.for[0].title: the key is missing"),
    ],
)
def test_a_new_language_needs_both_halves_of_a_text(site, text, key):
    assert key in errors_of(site(fr=text))


def test_the_mistakes_of_all_files_are_told_together(site):
    told = errors_of(site(en='[R55]\nadvice = "a"\n', fr='[R66]\nadvice = "a"\n'))
    assert "en.toml:1: R55" in told
    assert "fr.toml:1: R66" in told


@pytest.mark.parametrize(
    ("name", "hint"), [("FR", "'fr.toml'"), ("zh_CN", "'zh-cn.toml'"), ("texts", "language tag")]
)
def test_a_file_name_is_a_language(site, name, hint):
    told = errors_of(site(**{name: ""}))
    assert f"{name}.toml: the file name is not a language" in told
    assert hint in told


def test_a_folder_without_texts_is_a_mistake(tmp_path):
    (tmp_path / "README.md").write_text("none yet", encoding="utf-8")
    assert "holds no texts" in errors_of(tmp_path)
    assert "cannot be read" in errors_of(tmp_path / "nowhere")
    assert "cannot be read" in errors_of(tmp_path / "README.md")


# The verb


def test_the_verb_prints_all_texts_in_the_readers_language(call):
    code, out, err = call(LANG="zh_CN.UTF-8")
    assert (code, err) == (0, "")
    assert "R5  警戒区水平\n" in out
    assert all(re.search(rf"^{each}  \S", out, re.MULTILINE) for each in CODES)
    assert "R5  Cordon level\n" in call(LANG="de_DE.UTF-8")[1]


def test_the_verb_prints_one_text_with_those_for_special_classes(call):
    code, out, _ = call("R8")
    first, advice, classes, special, *_ = out.splitlines()
    assert (code, first) == (0, "R8  Over range")
    assert advice.strip() == SHIPPED.text("R8", None, "en").advice
    assert classes == "    Backpack, Mobile System:"
    assert special.strip() == SHIPPED.text("R8", "Backpack", "en").advice


def test_the_verb_prints_the_text_for_a_class_in_a_language_of_a_site(call):
    _, out, _ = call("R5", "--class", PRD, "--language", "fr", "--site", EXAMPLE)
    title, advice = out.splitlines()
    assert title == "R5  Niveau de périmètre"
    assert "0,55 m" in advice
    _, out, _ = call("R5", "--site", EXAMPLE)
    assert f"    {AREA}:\n        Cordon level at a mast. Take" in out


def test_the_verb_takes_the_name_of_an_alarm(call):
    assert call("device_gamma")[1].startswith("device  ")


def test_the_verb_prints_json(call):
    _, out, _ = call("--json", "--language", "zh")
    records = [json.loads(line) for line in out.splitlines()]
    assert {each["code"] for each in records if each["class"] is None} == set(CODES)
    assert {each["language"] for each in records} == {"zh"}
    _, out, _ = call("R5", "--class", PRD, "--json")
    assert json.loads(out) == {
        "code": "R5",
        "class": PRD,
        "language": "en",
        "title": "Cordon level",
        "advice": SHIPPED.text("R5", PRD, "en").advice,
    }


def test_the_verb_refuses_what_it_does_not_know(call, site):
    code, out, err = call("R55", "--class", "Backpak", "--language", "xx")
    assert (code, out) == (2, "")
    for hint in ("'R5'", "'Backpack'", "en, zh"):
        assert hint in err
    code, out, err = call("--site", site(en='[R55]\nadvice = "a"\n'))
    assert (code, out) == (2, "")
    assert "en.toml:1: R55: unknown key" in err
