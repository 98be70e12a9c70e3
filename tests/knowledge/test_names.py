"""Texts that name a target, that come close to it, and that only resemble it."""

import time

import pytest

from dmun_audit.knowledge.packs import open_knowledge, pack_names
from dmun_audit.knowledge.words.disguises import Disguises
from dmun_audit.knowledge.words.names import PROPER, names_of
from dmun_audit.knowledge.words.transliterations import find_transliterated

VAN_GOGH = names_of(("Van Gogh", "Vincent van Gogh", "梵高", "Винсент Ван Гог"), "style")


@pytest.mark.parametrize(
    "text",
    [
        "a house by van gogh",
        "A HOUSE BY VAN  GÓGH",
        "a VanGogh-like house",
        "two Van Goghs in a museum",
        "by V4n G0gh",
        "by Van Gøgh",
        "by Vаn Gоgh",
        "by V a n G o g h",
        "by V.a.n G.o.g.h",
        "by v\u200ba\u200bn g\u200bogh",
        "by ᴠᴀɴ ɢᴏɢʜ",
        "by ᏙᎪᏁ ᏀᎾᏀᎻ",
        "by Ꮩan Ꮐogh",
        "by ꓦꓮꓠ ꓖꓳꓖꓧ",
        "by Vaո Gօցհ",
        "by ｖａｎ ｇｏｇｈ",
        "by 𝓥𝓪𝓷 𝓖𝓸𝓰𝓱",
        "by Ⓥⓐⓝ Ⓖⓞⓖⓗ",
        "by 🅅🄰🄽 🄶🄾🄶🄷",
        "by 🇻🇦🇳 🇬🇴🇬🇭",
        "by v\u200da\u200dn go\u034fg\u3164h",
        "梵高的星空",
        "в стиле: Винсент Ван Гог",
    ],
)
def test_a_name_is_seen_however_it_is_written(text):
    assert VAN_GOGH.find_exact(text)
    assert VAN_GOGH.find_close(text)


@pytest.mark.parametrize(
    "text",
    [
        "by van gohg",
        "by van goth",
        "by van goghh",
        "#vangoghart",
        "a Gogh sky",
        "a Goghian field",
        "van goghesque",
        "V. Gogh, a field",
        "a field by V. v. Gogh",
        "the manner of V.v.G.",
        "the manner of V. v. G.",
        "signed VVG",
        "a field by Vincent",
        "Vincent's yellow house",
        "in the style of vincent, swirls",
        "hgoG naV, a field",
        "hgog nav tnecniv",
        "Gogh, Vincent van",
        "Gogh Van",
        "в духе Винсента Ван Гога",
    ],
)
def test_what_comes_close_is_close_and_not_plain(text):
    assert not VAN_GOGH.find_exact(text)
    assert VAN_GOGH.find_close(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a cargo van going uphill",
        "a van at the Gotham bridge",
        "a goth van",
        "swirling sky, 1889",
        "Vincent Price in a haunted house",
        "vincent price in a haunted house",
        "a portrait of Saint Vincent",
        "Vincent de Paul among the poor",
        "the island of Saint-Vincent",
        "a V8 engine in a GT",
        "N.A.S.A. launch pad",
    ],
)
def test_other_words_are_not_taken_for_the_name(text):
    assert not VAN_GOGH.find_close(text)


@pytest.mark.parametrize(
    ("name", "kind", "other"),
    [
        ("tench", "object", "a bench by a pond"),
        ("church", "object", "an old churchyard with graves"),
        ("Monet", "style", "a still life by Manet"),
        ("Monet", "style", "a pile of money"),
        ("Elon Musk", "identity", "a musket and a muskrat's elongated shadow"),
        ("Picasso", "style", "a piccolo player"),
    ],
)
def test_neighbours_in_spelling_are_other_things(name, kind, other):
    assert not names_of((name,), kind).find_exact(other)
    assert not names_of((name,), kind).find_close(other)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("T-Rex", "a T-Rex in the jungle"),
        ("B-52", "a B-52 over the desert"),
        ("tench", "a t e n c h in a pond"),
        ("J. M. W. Turner", "a J. M. W. Turner seascape"),
        ("Picasso", "by Pi-ca-sso"),
        ("गाय", "एक गाय मैदान में"),
        ("আম", "একটি আম গাছ"),
    ],
)
def test_names_of_letters_and_of_other_scripts_are_seen(name, text):
    assert names_of((name,), "object").find_exact(text)


@pytest.mark.parametrize(
    ("names", "text"),
    [
        (("Van Gogh", "Van Gogh style"), "a landscape in the style of Claude Monet"),
        (("Van Gogh", "the Dutch painter"), "a painter at an easel"),
        (("watercolor painting",), "an oil painting of a harbour"),
        (("Grant Wood",), "a cabin at the edge of a wood"),
        (("Jack Black",), "a man in a black jacket"),
        (("Mucha",), "not much to see"),
        (("Diego Rivera",), "a river in spring"),
        (("Jan Steen",), "a ship seen from afar"),
        (("Braque",), "a barque under sail"),
        (("Winslow Homer",), "a home by the sea"),
    ],
)
def test_common_words_are_no_names(names, text):
    assert not names_of(names, "style").find_close(text)


def test_a_slip_is_told_from_a_name_beside_it():
    musk = names_of(("Elon Musk", "Musk", "Elon"), "identity")
    assert musk.find_misspelt("a portrait of Elon Musck") == "Elon Musk"
    assert musk.find_misspelt("a portrait of Musck") is None  # four letters have no slips
    assert musk.has_lookalike("a portrait of Еlon Musk")
    gogh = names_of(("Van Gogh", "Vincent", "Vincent van Gogh"), "style")
    assert gogh.find_misspelt("a field by Vincent van Gough")
    assert not gogh.find_misspelt("a field by Vincent van Gogh")
    assert gogh.has_lookalike("Vincent van Gоgh")
    assert not gogh.has_lookalike("Vincent van Gogh")


def test_a_long_name_takes_no_time():
    names = names_of(tuple(" ".join("abcdefgh"[place] for place in range(8)) + str(number) for number in range(64)), "style")
    started = time.monotonic()
    for _ in range(50):
        names.find_close("a b c d e f g h " * 30)
    assert time.monotonic() - started < 30


def test_plurals_name_too():
    assert names_of(("church",), "object").find_exact("two churches")
    assert names_of(("parachute",), "object").find_exact("many parachutes")


def test_a_name_alone_is_told_from_a_name_in_a_text():
    assert VAN_GOGH.is_name("VAN GOGH")
    assert not VAN_GOGH.is_name("van gogh's ear")


PEOPLE = {
    "Van Gogh": ("Van Gogh", "Vincent van Gogh"),
    "Claude Monet": ("Monet", "Claude Monet"),
    "Elon Musk": ("Elon Musk",),
    "Pablo Picasso": ("Picasso", "Pablo Picasso"),
}


@pytest.mark.parametrize(
    ("alphabet", "texts"),
    [
        ("Cyrillic", ("поле, Ван Гог", "пруд, Клод Моне", "портрет Илон Маск", "Пабло Пикассо, портрет")),
        ("Greek", ("Βαν Γκογκ", "Κλωντ Μονέ", "Ίλον Μασκ", "Πάμπλο Πικάσο")),
        ("Arabic", ("لوحة فان جوخ", "كلود مونيه", "إيلون ماسك", "بابلو بيكاسو")),
        ("Hebrew", ("ציור של ואן גוך", "קלוד מונה", "אילון מאסק", "פבלו פיקאסו")),
        ("Devanagari", ("वान गॉग", "क्लॉड मोनेट", "एलन मस्क", "पाब्लो पिकासो")),
        ("Bengali", ("ভ্যান গখ", "ক্লোদ মোনে", "ইলন মাস্ক", "পাবলো পিকাসো")),
        ("Hangul", ("반 고흐의 그림", "클로드 모네", "일론 머스크", "파블로 피카소")),
    ],
)
def test_a_name_is_close_as_it_sounds_in_another_alphabet(alphabet, texts):
    """No spelling is given: what is found is the sound alone."""
    for name, text in zip(PEOPLE, texts, strict=True):
        found = {other for other, names in PEOPLE.items() if names_of(names, "style").find_close(text)}
        assert found == {name}, (alphabet, text)


ORDINARY = (
    """
деревянная церковь на севере России; рыбак держит линя у озера; старый дом у моря, масло, холст; девушка с веером в саду
вагон на вокзале; вон та гора в огне; венок из голубых цветов; монастырь на горе; мост через реку ночью; человек на луне
بيت قديم على البحر; حديقة فيها زهور وشجرة; رجل يقرأ كتابا في مقهى; फूलों का एक बगीचा; नदी के किनारे एक पुराना घर
একটি আম গাছ; নদীর ধারে একটি গ্রাম; ένα παλιό σπίτι δίπλα στη θάλασσα; γυναίκα με κόκκινο φόρεμα; בית ישן ליד הים
אישה קוראת ספר בגן; 바다 옆의 오래된 집; 정원에 있는 여자; 빨간 개집 위의 강아지; 해바라기 꽃병; 星月夜の下の村; 河边的老房子
a man with money at a monument; a claude glass on a table; a musk ox in the snow; elongated shadows; a pile of straw; PRP clinic
the will of the people; a musketeer; a bottle of musk perfume; a pablum advert; Mark the spot with an X; van life at the beach
""".replace("\n", ";")
    .strip(";")
    .split(";")
)


@pytest.mark.parametrize(
    "names", [*PEOPLE.values(), ("Snoopy",), ("Rembrandt", "Rembrandt van Rijn"), ("Gustav Klimt",), ("Edvard Munch",)]
)
def test_ordinary_prompts_name_nobody(names):
    found = {text: name for text in ORDINARY if (name := names_of(names, "style").find_close(text))}
    allowed = {"a musk ox in the snow", "a bottle of musk perfume"} if "Elon Musk" in names else set()  # the surname is a word
    assert {text.strip() for text in found} <= allowed


def test_prompts_of_other_packs_name_nobody_in_disguise():
    """The rules for disguises and sounds find nothing in thousands of prompts that are about somebody else."""
    packs = [open_knowledge(name) for name in pack_names()]
    for pack in (each for each in packs if each.target.kind in PROPER):
        disguises, names = Disguises(pack.names), names_of(pack.names, pack.target.kind)
        others = {text for other in packs if other.target.name != pack.target.name for text, _ in other.prompts_with_owners()}
        found = [text for text in others if disguises.find(text) or find_transliterated(text, pack.names)]
        assert [text for text in found if not names.find_exact(text)] == []


def test_thousands_of_prompts_take_no_time():
    started = time.monotonic()
    for number in range(2_000):
        VAN_GOGH.find_close(f"a village by a river at dusk with {number} lanterns, oil on canvas")
        VAN_GOGH.find_close(f"звёздная ночь над рекой, {number} фонарей, масло")
    assert time.monotonic() - started < 10
