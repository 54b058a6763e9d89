"""Small numbers in the words of other languages: `zwei`, `vingt-deux`, `treinta y cinco`, `двадцать два`, `두 개`.

Words that mean something else as well are no numbers here: `neuf` (new), `sei` (are), one in any language but English.
Some are numbers behind a verb of their own language only: `hay dos`, not `dos livros`; `hay tres`, not `très bien`. A
run of number words that make no number together is not read.
"""

import re
from collections.abc import Iterator

from envs.notation.dates import MONTH_NAMES
from envs.notation.folding import fold, words

_LANGUAGES: tuple[tuple[int, str], ...] = (
    (2, "zwei drei vier funf sechs sieben acht neun zehn elf zwolf dreizehn vierzehn funfzehn sechzehn siebzehn"),
    (18, "achtzehn neunzehn"),
    (2, "deux trois quatre cinq"),
    (8, "huit"),
    (10, "dix onze douze treize quatorze quinze"),
    (4, "cuatro cinco seis siete ocho nueve diez"),
    (13, "trece catorce"),
    (16, "dieciseis diecisiete dieciocho diecinueve"),
    (2, "dois"),
    (8, "oito"),
    (10, "dez onze doze treze"),
    (16, "dezesseis dezessete dezoito dezenove"),
    (16, "dezasseis dezassete dezoito dezanove"),
    (3, "tre quattro cinque"),
    (7, "sette"),
    (10, "dieci undici dodici tredici quattordici quindici sedici diciassette diciotto diciannove"),
    (2, "twee drie vier vijf zes zeven"),
    (9, "negen"),
    (11, "elf twaalf dertien veertien vijftien zestien zeventien achttien negentien"),
    (2, "два три четыре пять шесть семь восемь девять десять одиннадцать двенадцать тринадцать четырнадцать"),
    (15, "пятнадцать шестнадцать семнадцать восемнадцать девятнадцать"),
)
_TENS: tuple[tuple[int, str], ...] = (
    (20, "zwanzig dreissig vierzig funfzig sechzig siebzig achtzig neunzig"),
    (20, "vingt trente quarante cinquante soixante"),
    (20, "veinte treinta cuarenta cincuenta sesenta setenta ochenta noventa"),
    (20, "vinte trinta quarenta cinquenta sessenta"),
    (30, "trenta quaranta cinquanta sessanta settanta ottanta novanta"),
    (20, "twintig dertig veertig vijftig zestig zeventig tachtig negentig"),
    (20, "двадцать тридцать сорок пятьдесят шестьдесят семьдесят восемьдесят девяносто"),
)
_SMALL = {fold(word): number for first, line in _LANGUAGES for number, word in enumerate(line.split(), start=first)} | {
    "duas": 2,
    "две": 2,
    "двух": 2,
    "трех": 3,
}
_LARGER = {fold(word): 10 * index + first for first, line in _TENS for index, word in enumerate(line.split())}
_GERMAN_ONES = "ein zwei drei vier funf sechs sieben acht neun"
_COMPOUND = {
    f"{unit}und{tens}": number + 10 * index + 20
    for number, unit in enumerate(_GERMAN_ONES.split(), start=1)
    for index, tens in enumerate(_TENS[0][1].split())
}
_KOREAN_ONES = "한 두 세 네 다섯 여섯 일곱 여덟 아홉 열"
_KOREAN = {word: number for number, word in enumerate(_KOREAN_ONES.split(), start=1)}
_VALUES = _SMALL | _LARGER | _COMPOUND
_BEHIND_VERBS = {"dos": 2, "tres": 3, "doce": 12, "once": 11, "quince": 15, "sete": 7, "nove": 9, "due": 2}
_LONGER = (
    "un une una uno um uma ein eine eins sept neuf six seize otto sei venti vingts cent cents cien ciento cento",
    "hundert honderd mille mil mila tausend eintausend duizend doscientos trescientos cuatrocientos quinientos",
    "seiscientos setecientos ochocientos novecientos doscientas trescientas quinientas duzentos trezentos quatrocentos",
    "quinhentos seiscentos setecentos oitocentos duecento trecento quattrocento cinquecento один одна сто двести",
    "novecentos триста четыреста пятьсот шестьсот семьсот восемьсот девятьсот тысяча тысячи тысяч",
)
_LINKING = frozenset(word for line in _LONGER for word in line.split())
"""Words that make a longer number of those beside them, which is then not read."""
_CONJUNCTIONS = ("y", "e", "et", "und", "en", "и")
_ANY = "|".join(sorted([*_VALUES, *_BEHIND_VERBS, *_LINKING], key=len, reverse=True))
_JOINT = rf"(?:[ -]|[ -](?:{'|'.join(_CONJUNCTIONS)})[ -])"
_RUN = re.compile(rf"(?<![\w'-])(?:{_ANY})(?![^\W_])(?:{_JOINT}(?:{_ANY})(?![^\W_]))*")
_AFTER_VERB = re.compile(
    r"""\b(?:(?:hay|tiene[sn]?|tengo|tenemos|quedan|exactamente|existen)[ ](?:solo[ ])?(?:dos|tres|doce|once|quince)
    | (?:ha|tem|tenho|temos|existem|restam|exatamente|apenas)[ ](?:tres|sete|nove)
    | (?:ci[ ]sono|hai|abbiamo|sono|esattamente|restano)[ ](?:solo[ ])?(?:due|nove))(?![\w-])""",
    re.VERBOSE,
)
_COUNTED = re.compile(
    r"(?<![가-힣])(?<![열백천만쉰] )(?<!스물 )(?<!서른 )(?<!마흔 )"
    rf"(?P<number>{'|'.join(_KOREAN)})[ ]?(?:개|명|권|건|장|대|마리|병|잔|곳|자리)"
)
_REACH = 12
_REFUSED_BEFORE = re.compile(r"(?:\b(?:a las|alle|as|komma|virgule|coma|virgola|virgula|запятая|целых)|\d)[ ]\Z")
_OTHER_SENSE = re.compile(r"(?:\b(?:in|gib|gebt|habt|ausser)[ ]acht|\b(?:an|the)[ ]elf)\Z")
_REFUSED_AFTER = re.compile(
    rf"""-|[ ](?:tiers|quarts?|tercios?|cuartos|terzi|quarti|viertel|drittel|tercos|quintos?|трети|четверти|десятых
    |komma|virgule|coma|virgola|virgula|запятая|целых|et[ ]demie?|y[ ]medi[ao]|e[ ]mei[ao]|e[ ]mezz[ao]|с[ ]половиной
    |uhr|terre|cientos|(?:перв|втор|трет|четверт|пят|шест|седьм|восьм|девят)(?:ый|ой|ая|ое|ий|ье|ья|ого|ом)
    |(?:de[ ]|di[ ])?(?:{MONTH_NAMES}))(?!\w)""",
    re.VERBOSE,
)


def foreign_words(text: str) -> Iterator[tuple[int, int, int]]:
    """Value, start and end of each small number in the words of a folded text."""
    if not _VALUES.keys().isdisjoint(words(text)):
        for run in _RUN.finditer(text):
            if not _is_refused(text, run.start(), run.end()):
                yield from _numbers(run)
    for match in () if _BEHIND_VERBS.keys().isdisjoint(words(text)) else _AFTER_VERB.finditer(text):
        word = match[0].split()[-1]
        start = match.end() - len(word)
        alone = _RUN.match(text, start)
        if alone is not None and alone[0] == word and not _REFUSED_AFTER.match(text, match.end()):
            yield _BEHIND_VERBS[word], start, match.end()
    if not text.isascii():
        for counted in _COUNTED.finditer(text):
            yield _KOREAN[counted["number"]], counted.start(), counted.end("number")


def _is_refused(text: str, start: int, end: int) -> bool:
    before = text[max(0, start - _REACH) : start]
    other_sense = _OTHER_SENSE.search(text[max(0, start - _REACH) : end])
    return bool(_REFUSED_BEFORE.search(before) or other_sense or _REFUSED_AFTER.match(text, end))


def _numbers(run: re.Match[str]) -> Iterator[tuple[int, int, int]]:
    tokens = list(re.finditer(r"[^\W_]+", run[0]))
    values = [_VALUES.get(word[0]) for word in tokens]
    numbers = [value for value in values if value is not None]
    if len(tokens) == 1 and numbers:
        yield numbers[0], run.start(), run.end()
    elif len(numbers) == 2 and len(tokens) <= 3 and _are_apart(tokens, numbers):
        if numbers[0] in range(20, 91, 10) and numbers[1] < 10:
            yield sum(numbers), run.start(), run.end()
        elif numbers[0] < 20 and len(tokens) == 3:  # `cuatro y cinco` are two numbers
            for word, value in zip(tokens[::2], numbers, strict=True):
                yield value, run.start() + word.start(), run.start() + word.end()


def _are_apart(tokens: list[re.Match[str]], numbers: list[int]) -> bool:
    """Whether nothing but a conjunction stands between two numbers."""
    return len(tokens) == len(numbers) or tokens[1][0] in _CONJUNCTIONS
