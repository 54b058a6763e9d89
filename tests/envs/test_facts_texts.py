"""Names, codes and titles: told in every typographic variant and script, and by nothing that only looks alike."""

import pytest

from envs.facts import mentions, tells
from envs.task import Fact

CLOCK = "2026-03-02T09:00:00"


def tells_text(answer: str, value: str) -> bool:
    return tells(answer, Fact(label="x", kind="text", value=value), CLOCK)


def row_id(value: object) -> str:
    return ascii(value).strip("'\"")


VARIANTS = [
    ("ORD-12", ("ORD‐12", "ORD‑12", "ORD–12", "ORD−12", "ORD—12", "ＯＲＤ－１２", "ord 12", "ORD_12")),
    (
        "ORD-12",
        ("ORD\u200b-12", "ORD\u00ad-12", "\ufeffORD-12", "`ORD-12`", "**ORD-12**", "_ORD-12_", r"ORD\-12", "“ORD-12”"),
    ),
    (
        "ORD-12",
        (
            "Order #ORD-12",
            "(ORD-12)",
            "您的订单是ORD-12。",
            "您的订单ORD-12已发货",
            "주문은 ORD-12입니다",
            "คือORD-12ครับ",
        ),
    ),
    (
        "Ada Byron",
        ("Ada\u00a0Byron", "Ada\u202fByron", "Ada\u3000Byron", "Ada\nByron", "Ａｄａ Ｂｙｒｏｎ", "Ada Byron’s order"),
    ),
    ("O'Brien", ("O’Brien", "OʼBrien", "O`Brien", "O'Brien's")),
    ("St. John's", ("at St. John’s.",)),
    ("Acme Inc.", ("It is Acme Inc.", "Acme Inc is the owner")),
    ("José Álvarez", ("Jose Alvarez", "Jose\u0301 A\u0301lvarez", "JOSÉ ÁLVAREZ")),
    ("İstanbul", ("istanbul", "İstanbul'da", "ISTANBUL")),
    ("Diyarbakır", ("DİYARBAKIR", "Diyarbakir")),
    ("Straße", ("STRASSE", "strasse")),
    ("Łódź", ("Lodz",)),
    ("office", ("oﬃce",)),
    ("Opéra", ("à l’Opéra", "L'OPERA")),
    ("Model", ("Model™", "Model®")),
    ("CO2", ("CO₂",)),
    ("out_for_delivery", (r"out\_for\_delivery", "out for delivery", "Out‑for‑delivery")),
    ("C++", ("It is C++.", "C++, C# or C")),
    ("C#", ("It is C#.",)),
    ("C", ("It is C.", "C, not C++")),
    (".NET", ("It uses .NET.",)),
    ("A+", ("Grade A+.",)),
    ("A-", ("Grade A-.", "Grade A−", "Grade A–, fine")),
    ("A", ("Grade A - very good", "Grade A—very good", "*A*")),
    ("A*", ("rated A*.",)),
    ("Model-X(2)", ("It is Model-X(2).",)),
    ("50%", ("It is 50%.",)),
    ("@handle", ("ask @handle.",)),
    ("#tag", ("use #tag.",)),
    ("Yahoo!", ("It is Yahoo!",)),
    ("ada@example.org", ("mail ada@example.org.", "<ada@example.org>")),
    ("Москва", ("Это Москва.",)),
    ("दिल्ली", ("शहर दिल्ली है",)),
    ("القاهرة", ("المدينة هي القاهرة.",)),
]
UNSPACED = [
    (
        "三国演义",
        ("书名是三国演义。", "《三国演义》", "书名：三国演义", "我找到了三国演义这本书", "张伟借了三国演义。"),
    ),
    ("北京", ("他住在北京", "他住在北京，不是上海。", "北京和上海", "上海、北京")),
    ("已发货", ("状态为已发货。",)),
    ("東京", ("本店は東京にあります。", "東京です", "東京都ではなく、東京です")),
    ("田中", ("田中さんです", "担当は田中。")),
    ("さくら", ("これはさくらです",)),
    ("ランプ", ("商品はランプです", "ランプを注文しました")),
    ("ジョン・スミス", ("ジョン・スミスさん",)),
    ("서울", ("서울에서", "주소는 서울입니다.", "서울, 부산")),
    ("กรุงเทพ", ("เขาอยู่ที่กรุงเทพครับ", "เขาอยู่ที่กรุงเทพ", "เมือง กรุงเทพ")),
    ("ວຽງຈັນ", ("ລາວຢູ່ວຽງຈັນ",)),
    ("ភ្នំពេញ", ("គាត់រស់នៅភ្នំពេញ",)),
    ("ရန်ကုန်", ("သူသည်ရန်ကုန်မှာနေတယ်",)),
    ("Berlin", ("它在Berlin。", "状态是Berlin的")),
]
ALIKE = [
    ("C", ("It is C++.", "It is C#.", "C+")),
    ("C++", ("It is C.", "It is C+.")),
    ("NET", ("It uses .NET.",)),
    (".NET", ("ASP.NET",)),
    ("A", ("Grade A+.", "Grade A-.", "Grade A− overall", "rated A*")),
    ("A-", ("Grade A.", "the A-team")),
    ("A+", ("Grade A.", "Grade A++")),
    ("Brien", ("Mr O'Brien", "Mr O’Brien")),
    ("O", ("O'Brien",)),
    ("Model-X", ("It is Model-X(2).",)),
    ("50", ("It is 50%.", "It is 50 %")),
    ("handle", ("ask @handle",)),
    ("@handle", ("ask handle", "me@handle.org")),
    ("#tag", ("use tag",)),
    ("ada@example.org", ("me+ada@example.org", "x.ada@example.org", "ada@example.org.uk")),
    ("ORD-1", ("ORD‑12", "ORD–12", "ORD-1-2")),
    ("12", ("12.5", "12,500", "12:30", "3,12", "12万", "१२३")),
    ("10", ("10²",)),
    ("राम", ("रामा", "रामू")),
    ("Май", ("Маи",)),
    ("か", ("が",)),
    ("マ", ("マグ",)),
    ("三国", ("书名是三国演义。",)),
    ("三国演义", ("新三国演义", "不是三国演义")),
    ("京都", ("東京都にあります",)),
    ("東京", ("東京都にあります", "東京ではありません")),
    ("北京", ("北京路", "没有北京")),
    ("さくら", ("さくらんぼです",)),
    ("ランプ", ("ランプシェードです", "ランプではありません")),
    ("서울", ("서울역", "남서울", "서울이 아니라 부산")),
    ("แมว", ("แมวน้ำ", "ไม่ใช่แมว")),
    ("มา", ("คือม้า",)),
    ("Berlin", ("nicht Berlin", "pas à Berlin", "no es Berlin", "не Berlin")),
]


def rows(table: list[tuple[str, tuple[str, ...]]]) -> list[tuple[str, str]]:
    return [(value, answer) for value, answers in table for answer in answers]


@pytest.mark.parametrize(("value", "answer"), rows(VARIANTS), ids=row_id)
def test_a_text_is_told_in_its_typographic_variants_and_with_its_own_marks(value: str, answer: str) -> None:
    assert tells_text(answer, value)


@pytest.mark.parametrize(("value", "answer"), rows(UNSPACED), ids=row_id)
def test_a_text_is_told_in_scripts_without_spaces(value: str, answer: str) -> None:
    assert tells_text(answer, value)


@pytest.mark.parametrize(("value", "answer"), rows(ALIKE), ids=row_id)
def test_another_text_is_not_told(value: str, answer: str) -> None:
    assert not tells_text(answer, value)


@pytest.mark.parametrize(
    ("answer", "value"),
    [
        ("Ja, sie ist verfügbar.", True),
        ("Nein, sie ist nicht verfügbar.", False),
        ("Oui, bien sûr.", True),
        ("Non.", False),
        ("Sí.", True),
        ("是的。", True),
        ("不，没有。", False),
        ("はい、あります。", True),
        ("いいえ。", False),
        ("네.", True),
        ("아니요.", False),
        ("It is available, though non-refundable.", True),
    ],
    ids=row_id,
)
def test_yes_and_no_are_told_in_the_language_of_the_answer(answer: str, value: bool) -> None:
    told = [
        truth for truth in (True, False) if tells(answer, Fact(label="available", kind="boolean", value=truth), CLOCK)
    ]
    assert told == [value]


@pytest.mark.parametrize("answer", ["Ja, sie ist nicht verfügbar.", "si está disponible", "Ist sie verfügbar?"])
def test_what_says_both_or_neither_tells_no_truth(answer: str) -> None:
    assert not tells(answer, Fact(label="available", kind="boolean", value=True), CLOCK)


@pytest.mark.parametrize("answer", ["Es gibt keine.", "没有。", "Il n'y a rien.", "No hay ninguno."])
def test_that_there_is_none_is_told_in_the_language_of_the_answer(answer: str) -> None:
    assert tells(answer, Fact(label="x", kind="text", value=[]), CLOCK)


def test_a_denied_text_is_mentioned() -> None:
    assert mentions("不是北京", "text", "北京", CLOCK)
