"""What numbers are like by the words of a column's name: how large, how often none, and which may not be just any.

No domain is known here, only what people mean by a rating, an age or a temperature.
"""

from collections.abc import Mapping

from envs.spec import Column, Table

SCALES = {
    "rating": (1, 5), "stars": (1, 5), "level": (1, 5), "grade": (1, 6), "priority": (1, 5), "severity": (1, 5),
    "percent": (0, 100), "percentage": (0, 100), "humidity": (0, 100), "temperature": (-30, 50),
}  # fmt: skip
"""Numbers that stop somewhere: no row and no argument lies beyond."""
COUNTS = {
    "quantity": (1, 12), "age": (18, 80), "pages": (60, 900), "minutes": (15, 180), "duration": (15, 180),
    "hours": (1, 12), "nights": (1, 10), "days": (1, 21), "weeks": (1, 12), "months": (1, 24), "temperature": (-8, 32),
    "rain": (0, 45), "rainfall": (0, 45), "precipitation": (0, 45), "snow": (0, 60), "wind": (0, 95),
    "humidity": (25, 100), "pressure": (985, 1035), "altitude": (1, 2400), "elevation": (1, 2400),
    "distance": (2, 800), "km": (2, 800), "mileage": (500, 180_000), "weight": (1, 90), "height": (150, 200),
    "dose": (1, 4), "dosage": (1, 4), "speed": (30, 160), "goals": (0, 6), "wins": (0, 20), "losses": (0, 20),
    "points": (0, 100), "score": (0, 100), "calories": (80, 900), "attendance": (20, 900), "capacity": (8, 60),
    "stock": (1, 120), "copies": (1, 12), "seats": (20, 240), "seat": (20, 240), "rooms": (5, 180), "floor": (0, 12),
    "players": (2, 8), "player": (2, 8), "guests": (1, 8), "travellers": (1, 8), "people": (1, 8), "persons": (1, 8),
    "participants": (2, 20), "passengers": (1, 6), "adults": (1, 4), "children": (0, 4),
}  # fmt: skip
PARTY = {"seats": (1, 8), "seat": (1, 8), "rooms": (1, 3), "capacity": (1, 8)}
"""In a record of somebody's, what in a catalogue is the size of a thing is the size of a party."""
MONEY = {
    "balance": (5_000, 900_000), "salary": (180_000, 700_000), "limit": (50_000, 500_000), "budget": (50_000, 900_000),
    "night": (3_500, 40_000), "fee": (1_000, 25_000), "deposit": (5_000, 90_000),
    "rent": (40_000, 220_000),
}  # fmt: skip
"""In cents."""
STOCKED = {"stock", "copies", "available", "inventory", "seats", "seat", "places", "vacancies", "units", "rooms"}


_HELD = {"balance", "salary", "limit", "budget", "income", "wage", "debt"}
"""Money that somebody has or may spend, and that nobody pays for a thing."""


def is_price(column: Column) -> bool:
    """Whether a column is what something costs."""
    return column.type == "cents" and not _HELD & set(column.name.split("_"))


def limits(table: Table, column: Column, year: int) -> tuple[int, int]:
    """The lowest and highest number to be expected in a column of integers or cents; `year` is the present one."""
    if column.type == "cents":
        return _by_word(MONEY, column, (300, 60_000))
    kept = {**COUNTS, **PARTY} if _refers(table) else COUNTS
    return _by_word({**SCALES, **kept, "year": (min(1950, year - 50), year)}, column, (1, 40))


def scale(column: Column) -> tuple[int, int] | None:
    """Between what any number of this column lies, where its name says so."""
    return next((SCALES[word] for word in column.name.split("_") if word in SCALES), None)


def stock_of(table: Table, kinds: Mapping[tuple[str, str], str]) -> Column | None:
    """The column that counts how much of a catalogue's article is left."""
    counts = [column for column in table.columns if kinds[table.name, column.name] == "count"]
    return None if _refers(table) else next((c for c in counts if STOCKED & set(c.name.split("_"))), None)


def quantity_of(table: Table) -> Column | None:
    """The column that says how many, by which a price is multiplied."""
    return next((c for c in table.columns if c.type == "integer" and "quantity" in c.name.split("_")), None)


def _by_word(known: Mapping[str, tuple[int, int]], column: Column, otherwise: tuple[int, int]) -> tuple[int, int]:
    return next((known[word] for word in column.name.split("_") if word in known), otherwise)


def _refers(table: Table) -> bool:
    return any(column.references for column in table.columns)
