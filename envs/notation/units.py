"""Units after a number: what they measure, and how a number in one is compared with a fact in another."""

import re
from decimal import Decimal
from typing import NamedTuple

from envs.notation.folding import fold
from envs.notation.scripts import UNSPACED


class Unit(NamedTuple):
    """A dimension, and how much of the dimension's first unit this one stands for."""

    dimension: str
    factor: Decimal
    certain: bool = True
    """False for `5m`, which may be millions, and for `a day`: compared with a fact in such a unit only."""
    composed: bool = False
    """Whether the number was worked out from several units, such as hours and minutes."""


_UNITS: dict[str, Unit] = {
    fold(word): Unit(dimension, Decimal(factor))
    for dimension, factor, words in (
        ("mass", "0.001", "mg milligram milligrams"),
        ("mass", "1", "g gram grams gramm gramme grammes gramo gramos grammi 克 グラム"),
        ("mass", "1000", "kg kilo kilos kilogram kilograms kilogramm kilogrammes kilogramos 公斤 千克 キロ"),
        ("mass", "1000000", "t ton tons tonne tonnes tonnen toneladas 吨 噸"),
        ("mass", "28.349523125", "oz ounce ounces"),
        ("mass", "453.59237", "lb lbs"),
        ("length", "0.001", "mm millimeter millimeters millimetre millimetres"),
        ("length", "0.01", "cm centimeter centimeters centimetre centimetres zentimeter centimetros 厘米 公分"),
        ("length", "0.0254", "inch inches"),
        ("length", "0.3048", "ft foot feet"),
        ("length", "0.9144", "yd yard yards"),
        ("length", "1", "m meter meters metre metres metros metri 米 公尺 メートル"),
        ("length", "1000", "km kilometer kilometers kilometre kilometres kilometros 公里 千米"),
        ("length", "1609.344", "mi mile miles"),
        ("time", "1", "s sec secs second seconds sekunde sekunden secondes segundos secondi 秒"),
        ("time", "60", "min mins minute minutes minuten minutos minuti 分钟 分鐘 分間"),
        ("time", "3600", "h hr hrs hour hours stunde stunden heure heures hora horas uur 小时 小時 時間"),
        ("time", "86400", "d day days tag tage tagen jour jours dia dias giorni dagen 天 日間"),
        ("time", "604800", "week weeks woche wochen semaine semaines semana semanas settimane weken 周 週間 星期"),
        ("volume", "1", "ml milliliter milliliters millilitre millilitres 毫升"),
        ("volume", "1000", "l liter liters litre litres litros litri 升 公升"),
        ("mass", "1", "грамм грамма граммов ग्राम جرام غرام 그램"),
        ("mass", "1000", "キログラム кг килограмм килограмма килограммов किलो किलोग्राम كجم كغ 킬로그램"),
        ("length", "0.01", "センチ см"),
        ("length", "1", "метр метра метров मीटर متر 미터"),
        ("length", "1000", "キロメートル км километр километра километров किलोमीटर كم 킬로미터"),
        ("time", "60", "分 분 минута минуты минут मिनट मिनिट মিনিট دقيقة دقائق dakika menit"),
        ("time", "3600", "ore ora std 시간 час часа часов घंटे घंटा ঘন্টা ساعة ساعات saat jam"),
        ("time", "86400", "день дня дней दिन দিন يوم أيام gun hari"),
        ("time", "604800", "неделя недели недель हफ्ते सप्ताह أسابيع hafta minggu 주일"),
        ("share", "1", "процент процента процентов パーセント 퍼센트 प्रतिशत"),
        ("share", "1", "% percent pct prozent procent"),
    )
    for word in words.split()
}
PERCENT = _UNITS["%"]._replace(certain=False)
"""Of a sign or word before the number."""
_GLUED_M = _UNITS["m"]._replace(certain=False)
"""`90m` may be minutes as well as meters."""
_UNMEASURED = "gb mb kb tb gib mib w kw kwh mwh v ma mah hz khz mhz ghz px pt pcs pc mph kmh kph rpm bar psi db"
"""Units without a conversion: they may follow digits without a space. `5c` may name a seat and is left out."""
_UNSPACED_LETTER = re.compile(f"[{UNSPACED}]")
_WORDS = sorted(
    (word for word in [*_UNITS, *_UNMEASURED.split()] if word[0].isalpha() and not _UNSPACED_LETTER.match(word)),
    reverse=True,
)
GLUED = re.compile(rf"(?:{'|'.join(_WORDS)})(?![^\W²³])")
"""Letters that may follow digits without a space."""
_UNSPACED = sorted((word for word in _UNITS if _UNSPACED_LETTER.match(word)), key=len, reverse=True)
_LETTER = r"[^\W\d_²³]|[\u0900-\u0dff]"
_AFTER = re.compile(rf"(?P<gap>[ ]?)-?(?P<word>{'|'.join(_UNSPACED)}|(?:{_LETTER})+|%)(?P<power>[ ]?[/²³^])?")


def is_unit(word: str) -> bool:
    """Whether a folded word names a unit."""
    return word in _UNITS


def unit_after(text: str, position: int) -> tuple[Unit | None, int]:
    """The unit that follows a number, and where it ends; none is known for most words."""
    after = _AFTER.match(text, position)
    unit = _UNITS.get(after["word"]) if after else None
    if after is None or unit is None:
        return None, position
    if after["power"]:
        return Unit(after["word"] + after["power"], Decimal(1)), after.end()
    return unit._replace(certain=bool(after["gap"]) or after["word"] != "m"), after.end()


def converted(value: Decimal, unit: Unit | None, wanted: str) -> Decimal | None:
    """A number with its unit, in the wanted unit; None if it counts something else.

    Without a known unit on both sides a number is taken as it is.
    """
    target = _UNITS.get(wanted.casefold())
    if unit is None:
        return value
    if target is None:
        return value if unit.certain and not unit.composed else None
    if unit == _GLUED_M and target.dimension == "time":
        unit = _UNITS["min"]
    return value * unit.factor / target.factor if unit.dimension == target.dimension else None
