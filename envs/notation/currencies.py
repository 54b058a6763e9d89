"""Signs, codes and names of money before and after an amount, and whether they count whole units or hundredths."""

import re
from typing import Literal, TypeAlias

Money: TypeAlias = Literal["", "major", "cents"]
"""What an amount counts: nothing known, dollars and the like, or their hundredths."""
_CODES = (
    "usd eur gbp chf cad aud nzd jpy cny rmb inr sek nok dkk isk pln czk huf ron bgn brl mxn ars clp cop zar sgd hkd "
    "twd krw rub uah thb idr myr php vnd ils aed sar egp ngn kes"
)
_SIGNS = "€£¥₹₩₽₺₴₫฿₪₱₦₡₵₸₿"
SIGN = rf"(?:(?<![a-z])(?:us|ca|au|nz|hk|nt|mx|[acsr])?\$|[{_SIGNS}])"
_NAMES = (
    "dollars? euros? pounds?(?![ ](?:of|in[ ]weight)\\b) quid bucks? francs? franken frs? yen yuan renminbi rupees? "
    "rs kr kronor kronen kroner krona krone pesos? roubles? rubles? zlotys? zl liras? forint baht dolares? dolar "
    "dollari dolar euro libras? sterline pfund franchi francos kroon shekels? rand dirhams?"
)
_HUNDREDTHS = "cents? centimes? centavos? centesimi centesimo centimos? pence penny ct cts ore oere paise"
BEFORE = re.compile(rf"(?:{SIGN}|(?<![^\W_])(?:{'|'.join(_CODES.split())}|rs|kr|fr|sfr)\.?|人民币|人民幣)[ ]?\Z")
"""Searched in what stands before an amount."""
LEADS = (
    *_SIGNS,
    "$",
    *_CODES.split(),
    *(f"{word}{dot}" for word in ("rs", "kr", "fr") for dot in ("", ".")),
    "人民币",
    "人民幣",
)
"""How such a text may end."""
AFTER = re.compile(
    rf"""[ ]?(?:
        (?P<cents>¢|(?:{"|".join(_HUNDREDTHS.split())})(?!\w))
        | (?P<major>{SIGN}(?!\d)|元|块|塊|圆|圓|円|원|(?:{"|".join([*_CODES.split(), *_NAMES.split()])})(?![^\W\d_]))
    )""",
    re.VERBOSE,
)
