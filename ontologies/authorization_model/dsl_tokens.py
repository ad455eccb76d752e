"""The words of OpenFGA's DSL, as its lexer (`OpenFGALexer.g4` of openfga/language) cuts them.

White space and line breaks are words: the grammar says where each must and must not stand.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

SPACE = "a space"
NEWLINE = "a line break"
NAME = "a name"
VERSION = "a version"
WORD = "a word"
END = "the end of the text"

#: Words that are no names, except those the grammar lets be names all the same.
_KEYWORDS = frozenset({"and", "or", "from", "condition", "relations", "define", "with", "in"}) | frozenset(
    {"true", "false", "null"}
)
_TOKEN = re.compile(
    r"(?P<newline>(?:[ \t]*(?:\r?\n|\r|\f))+[ \t]*)|(?P<space>[ \t]+)"
    r"|(?P<word>but not)"
    r"|(?P<name>[A-Za-z_](?:[A-Za-z0-9_-]|[/.](?=[A-Za-z0-9_]))*)"
    r"|(?P<version>[0-9]+\.[0-9]+)|(?P<other>.)"
)
#: A CEL string, a brace, or one character that is neither, for finding the end of an expression.
_EXPRESSION = re.compile(
    r'[rR]?"""(?:\\.|[^\\])*?"""|[rR]?\'\'\'(?:\\.|[^\\])*?\'\'\''
    r'|[rR]"[^"\n\r]*"|[rR]\'[^\'\n\r]*\'|"(?:\\.|[^\\"\n\r])*"|\'(?:\\.|[^\\\'\n\r])*\''
    r"|(?P<comment>//[^\n]*)|(?P<end>\})|.",
    re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class Token:
    """A word and where it begins. `kind` is one of the constants above."""

    kind: str
    text: str
    at: int


def without_comments(text: str) -> str:
    """The text with its comments blanked, lines kept: whole lines, or from a space and `#` to the end."""
    return "\n".join(map(_uncommented, text.split("\n"))).rstrip("\n")


def _uncommented(line: str) -> str:
    return "" if line.lstrip(" ").startswith("#") else line.split(" #", 1)[0].rstrip(" \r")


class Tokens:
    """Reads a text word by word; an expression in CEL is taken whole, as it was written."""

    def __init__(self, text: str) -> None:
        self._text = without_comments(text)
        self._at = 0
        self.next = self._scan()

    def take(self) -> Token:
        """The next word; the one after it is next then."""
        token = self.next
        self._at += len(token.text)
        self.next = self._scan()
        return token

    def take_expression(self) -> str | None:
        """All up to the `}` that is in no CEL string, without CEL's comments; None where there is none."""
        parts: list[str] = []
        for match in _EXPRESSION.finditer(self._text, self._at):
            if match["end"]:
                self._at = match.start()
                self.next = self._scan()
                return "".join(parts)
            if not match["comment"]:
                parts.append(match[0])
        return None

    def ahead(self, count: int) -> list[Token]:
        """The next `count` words, which stay where they are."""
        at, here = self._at, self.next
        found = [self.take() for _ in range(count)]
        self._at, self.next = at, here
        return found

    def place(self, token: Token) -> tuple[int, int]:
        """Line and column, from 1."""
        before = self._text[: token.at]
        return before.count("\n") + 1, token.at - before.rfind("\n")

    def _scan(self) -> Token:
        match = _TOKEN.match(self._text, self._at)
        if match is None:
            return Token(END, "", self._at)
        found = match[0]
        kind = {"newline": NEWLINE, "space": SPACE, "version": VERSION}.get(match.lastgroup or "", WORD)
        if match["name"] and found not in _KEYWORDS:
            kind = NAME
        return Token(kind, found, self._at)
