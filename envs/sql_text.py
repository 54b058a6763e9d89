"""What is read off the text of a tool's SQL by sqlglot, where preparing the statement in SQLite does not tell.

It is imported at first use, because importing sqlglot takes long. sqlglot has the tokens of SQLite; its
grammar lacks a little of SQLite's, and what it cannot parse raises `UnreadableSql`.
"""

import logging
from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise
from typing import ClassVar

from sqlglot import expressions as exp
from sqlglot.dialects.sqlite import SQLite
from sqlglot.errors import ErrorLevel, ParseError, TokenError
from sqlglot.parsers.sqlite import SQLiteParser
from sqlglot.tokens import Token, TokenType

from envs.spec import EnvironmentSpec

logging.getLogger("sqlglot").setLevel(logging.ERROR)  # what it cannot read is an error of ours, which says so
_QUOTED = (TokenType.STRING, TokenType.IDENTIFIER)


REMEDY = "Write it with fewer of SQLite's own forms"
"""What to do about `UnreadableSql`."""


class UnreadableSql(ValueError):
    """SQL that sqlglot cannot read; the message says from where on."""


class _ToolDialect(SQLite):
    """SQLite as tools may write it: with REPLACE INTO and UPDATE OR …, which sqlglot does not parse."""

    class Tokenizer(SQLite.Tokenizer):
        COMMANDS: ClassVar[set[TokenType]] = set()  # of these sqlglot leaves all that follows unread

    class Parser(SQLiteParser):
        STATEMENT_PARSERS: ClassVar = {
            **SQLiteParser.STATEMENT_PARSERS,
            TokenType.REPLACE: lambda parser: parser._parse_insert(),
        }

        def _parse_update(self) -> exp.Update:
            if self._match(TokenType.OR):
                self._advance()
            return super()._parse_update()


@lru_cache(maxsize=1024)
def sql_tokens(sql: str) -> tuple[Token, ...]:
    """The tokens of SQL, without comments. Raises UnreadableSql."""
    try:
        return tuple(_ToolDialect().tokenize(sql))
    except TokenError as error:
        raise UnreadableSql("a string, a quoted name or a comment in it is never closed") from error


@lru_cache(maxsize=1024)
def syntax_tree(sql: str) -> exp.Expr:
    """The tree of one statement; it is shared, do not change it. Raises UnreadableSql."""
    tokens = _with_plain_parameters(sql_tokens(sql))
    try:
        statements = _ToolDialect().parser(error_level=ErrorLevel.IMMEDIATE).parse(tokens, sql)
    except ParseError as error:
        where = error.errors[0]["highlight"] if error.errors else None
        raise UnreadableSql(f"sqlglot cannot parse it from {where or 'its end'} on") from error
    except RecursionError as error:
        raise UnreadableSql("it is nested too deeply for sqlglot") from error
    except (AttributeError, LookupError, TypeError, ValueError) as error:  # its parser on odd input
        raise UnreadableSql(f"sqlglot cannot parse it ({error})") from error
    trees = [statement for statement in statements if statement is not None]
    if len(trees) != 1:
        raise UnreadableSql(f"it is {len(trees)} statements")
    return trees[0]


def _with_plain_parameters(tokens: Sequence[Token]) -> list[Token]:
    """The tokens, with a name in place of a keyword that is a parameter's name: SQLite binds `:from` as any other."""
    plain = list(tokens[:1])
    for sign, token in pairwise(tokens):
        is_bound = sign.token_type is TokenType.COLON and token.token_type is not TokenType.NUMBER
        plain.append(Token(TokenType.VAR, token.text) if is_bound else token)
    return plain


@lru_cache(maxsize=1024)
def is_ordered(sql: str) -> bool:
    """Whether the outermost SELECT has ORDER BY. Raises UnreadableSql."""
    depth = 0
    previous = ""
    for token in sql_tokens(sql):
        word = "" if token.token_type in _QUOTED else token.text.upper()
        # Two tokens where a comment stands between the words.
        if depth == 0 and (word == "ORDER BY" or (previous == "ORDER" and word == "BY")):
            return True
        depth += (word == "(") - (word == ")")
        previous = word
    return False


def assigned_parameters(effect: str, spec: EnvironmentSpec) -> list[tuple[str, str, str]]:
    """(table, column, parameter) for every column that an INSERT or UPDATE sets to a bound name and nothing else.

    Raises UnreadableSql.
    """
    columns = {table.name: ["id", *(column.name for column in table.columns)] for table in spec.tables}
    statement = syntax_tree(effect)
    table, assignments = _updated(statement) if isinstance(statement, exp.Update) else _inserted(statement, columns)
    return [
        (table, column, value.name)
        for column, value in assignments
        if isinstance(value, exp.Placeholder) and value.name and column in columns.get(table, [])
    ]


def updated_columns(effect: str) -> tuple[str, list[str]]:
    """The table of an UPDATE and the columns it sets; none for another statement. Raises UnreadableSql."""
    statement = syntax_tree(effect)
    if not isinstance(statement, exp.Update):
        return "", []
    table, assignments = _updated(statement)
    return table, [column for column, _ in assignments]


def _updated(statement: exp.Update) -> tuple[str, list[tuple[str, exp.Expr]]]:
    sets = [item for item in statement.expressions if isinstance(item.this, exp.Column)]
    return statement.this.name, [(item.this.name, item.expression) for item in sets]


def _inserted(statement: exp.Expr, columns: dict[str, list[str]]) -> tuple[str, list[tuple[str, exp.Expr]]]:
    """The table of INSERT … VALUES, and every column of each row with its value; nothing for another statement."""
    if not isinstance(statement, exp.Insert) or not isinstance(statement.expression, exp.Values):
        return "", []
    target = statement.this
    table = target.this.name if isinstance(target, exp.Schema) else target.name
    names = [name.name for name in target.expressions] if isinstance(target, exp.Schema) else columns.get(table, [])
    rows = statement.expression.expressions
    return table, [pair for row in rows for pair in zip(names, row.expressions, strict=False)]
