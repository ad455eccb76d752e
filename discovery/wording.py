"""Rules by their wording: what must, may and must not say, and who, what, where and until when around it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from discovery.extraction import MAX_PART, MAX_QUOTE, ExtractedRule, Kind

_SENTENCE_END = re.compile(r"(?<=[.!?;:])(?<!\b\w\.)(?<!\b\d\d\.)\s+(?=[\"“(\[]?[A-Z0-9(*•-])|\n+")
_NOT = r"(?:\s+(?:not|never)|n't|n’t)\b"
_IS = (
    r"(?:is|are|(?:must|shall|should)(?:,[^,;.]{2,40},)?\s+be)\s+"
    r"(?:hereby\s+|strictly\s+|expressly\s+|absolutely\s+|generally\s+|always\s+)?"
)
_LET = r"(?:permitted|allowed|authori[sz]ed|entitled)"
_BANNED = r"(?:prohibited|forbidden|banned|disallowed)"
_NEEDED = r"(?:required|mandatory|compulsory|obligatory)"
_NEVER = (
    r"under\s+no\s+circumstances?|in\s+no\s+(?:case|event|circumstances?)|at\s+no\s+time|on\s+no\s+account"
)
#: How long, after `for`.
_SPAN = (
    r"(?:\s+an?\s+(?:\w+\s+)?period\s+of)?"
    r"(?:\s+(?:at\s+(?:least|most)|up\s+to|not?\s+(?:less|more|longer)\s+than))?"
)
_UNIT = r"(?:business\s+|calendar\s+|working\s+)?(?:minutes?|hours?|days?|weeks?|months?|quarters?|years?)"
_MANY = (
    r"(?:\d[\d,.]*(?:\s*[-–]\s*\d+)?|an?|(?:twenty|thirty|forty|fifty|sixty|seventy|eighty|ninety)(?:-\w+)?|one|two|"
    r"three|four|five|six|seven|eight|nine|ten|eleven|twelve|\w+teen|a\s+hundred)"
)
_LASTING = rf"for{_SPAN}\s+(?:[\w-]+\s+)?(?:\(\d+\)\s+)?{_UNIT}\b"
#: In this order: the first that matches at a place tells its kind; None: nobody is bound by it.
_MODALS: tuple[tuple[Kind | None, str], ...] = (
    (None, r"(?:need|(?:is|are)\s+(?:under\s+no\s+obligation|not\s+(?:required|obliged)))\s+(?:not\s+)?to\b"),
    (None, r"(?:do|does)\s+not\s+(?:have|need)\s+to\b|(?:may|shall|must)\s+not\s+be\s+(?:required|deemed)\b"),
    (None, rf"(?:is|are)\s+(?:not|never|no\s+longer)\s+(?:\w+ly\s+)?(?:{_BANNED}|{_NEEDED})\b"),
    ("prohibition", rf"(?:{_NEVER})\s+(?:may|must|shall|should|can|will)\b"),
    ("prohibition", rf"(?:must|shall|may|should|can|will){_NOT}(?!\s+only\b)|cannot\b"),
    ("prohibition", rf"{_IS}(?:not\s+{_LET}|{_BANNED})(?:\s+(?:to|from))?"),
    ("prohibition", r"(?:do|does)\s+not\s+grant\b|(?:prohibited|forbidden)\s+(?:to|from)\b"),
    # Who may not be held to it: what a licence or a contract excludes.
    (
        "prohibition",
        r"disclaim(?:s|ed)?\b|without\s+(?:any\s+)?(?:\w+\s+){0,2}warrant(?:y|ies)\b|no\s+warrant(?:y|ies)\b",
    ),
    ("permission", r"(?:permission|rights?|licen[cs]e)\b[^.;]{0,240}?\b(?:is|are)\s+(?:hereby\s+)?granted\b"),
    ("permission", r"(?:hereby\s+)?grants?\b(?!\s+of\b)|licen[cs]es\s+you\b|gives\s+(?:you\s+)?permission\b"),
    ("permission", rf"{_IS}(?:{_LET}|free|granted)\b(?:\s+to\b)?"),
    ("permission", r"(?:has|have)\s+the\s+right\s+to\b"),
    (
        "duty",
        r"(?:must|shall|should)\b|(?:is|are)\s+(?:(?:required|obliged|obligated)\s+to|responsible\s+(?:to|for))\b",
    ),
    ("duty", r"(?:has|have|need|needs)\s+to\b"),
    # What something else takes binds nobody: `a password is required for access`.
    ("duty", rf"{_IS}{_NEEDED}\b(?:(?=\s+{_LASTING})|(?!\s+(?:to|for|by)\b))"),
    ("permission", r"may\b|can\b"),
)
_MODAL = re.compile("|".join(f"(?P<m{at}>\\b{text})" for at, (_, text) in enumerate(_MODALS)), re.IGNORECASE)
#: Said of what is done: `Export of data is prohibited`.
_OF_ACTS = re.compile(rf"{_IS}(?:(?:not\s+)?{_LET}|{_BANNED}|{_NEEDED})", re.IGNORECASE)
#: What is done, as a noun, with what it is done to before or after it.
_ACT = re.compile(
    r"^(?:(?:the|any|all|every|each|such|an?|no)\s+)*(?P<before>(?:[\w-]+\s+){0,3}?)"
    r"(?P<act>(?!(?:following|\w*thing|building|evening|morning|king|string|ring|being)\b)"
    r"(?:[\w-]{2,}(?:ing|[ts]ion|ment|sal|sure|age|ance|ysis)"
    r"|(?:re-?)?use|access|transfer|export|import|(?:re)?sale|copy|release|display|upload|download|hire))\b"
    r"(?P<after>.*)$",
    re.IGNORECASE,
)
#: After these, a place is not where it is done.
_OTHER_THAN = re.compile(
    r"\b(?:except|other|not(?!\s+(?:less|more|longer)\b)|but|save|unless|without|outwith|apart)\b",
    re.IGNORECASE,
)
#: Of what is asked for, and is not just needed.
_OBJECT = re.compile(r"^\s+of\s+\w")
#: What is prohibited after these may be nothing.
_CONDITION = re.compile(r"\b(?:if|when|where|unless|whether)\s+[^,;:]*$", re.IGNORECASE)
_MOVING = re.compile(r"^(?:transfer|transmi|export|mov|remov|send|leav)", re.IGNORECASE)
#: A lead that ends so says of each item below it what it says of the first.
_LEAD = re.compile(r":\s*$|(?:conditions?|following)\b[^.]*$", re.IGNORECASE)
_ITEM = re.compile(r"^\s*(?:[-*•]|\(?[0-9a-z]{1,3}[.)])\s+", re.IGNORECASE)
_NOBODY = re.compile(r"\b(?:no|neither|nobody|no\s+one|none)\b", re.IGNORECASE)
_NOTHING = re.compile(r"(?:no|neither|nobody|none|nothing)\b", re.IGNORECASE)
_ADVERB = re.compile(
    r"^(?:(?:also|always|only|all|be|been|have|hereby|to|at\s+all\s+times|not|now|then|first"
    r"|(?!(?:app|re|rep|supp|comp|imp|multip|f|al|tal|ral|bul)ly\b)\w+ly)\s+)+",
    re.IGNORECASE,
)
#: Said of who it is that does it: they are no object of it.
_BEING = re.compile(r"be\s+(?:able|accountable|available|aware|liable|responsible|subject)\b", re.IGNORECASE)
#: All of a list: `All employees and contractors`, `Users, groups or teams`.
_LISTED = re.compile(
    r"^(?:(?:all|any|each|every|both|no|our)\s(?!.*\b(?:is|are|was|were|has|have|had|do|does|did|will|would|"
    r"that|which|who|if|when|unless|where|because|while)\b)[^.;:]*|[\w'-]+(?:,\s+[\w'-]+)*,?\s+(?:and|or)\s+[\w'-]+)$",
    re.IGNORECASE,
)
#: `Data owners, in consultation with counsel, may`.
_INSERTED = re.compile(r"^(.*\w),\s[^,;:.]{2,60},\s*$", re.DOTALL)
#: What brings something elsewhere; of anything else, `to` and `from` tell no place.
_CARRYING = re.compile(
    r"^(?:transfer|transmi|export|mov|remov|send|sent|leav|shar|disclos|releas|upload|cop(?:y|ie)|ship|provid|"
    r"relocat|disseminat|bring|brought|tak|return)",
    re.IGNORECASE,
)
_PLACE = re.compile(
    r"\b(?:(?:out|in)side(?:\s+of)?|in|within|leav(?:e|ing)|from|to)\s+(?:the\s+)?"
    r"(?:[A-Z][\w.-]*(?:\s+(?:and|of|the|or)(?=\s+[A-Z]))?\s*){1,6}"
)
_UNTIL = re.compile(
    r"\b(?:(?:until|till)\s+[^,.;]{2,80}"
    rf"|(?:within|after|for{_SPAN}|no\s+later\s+than|no\s+longer\s+than|by|before)\s+"
    rf"(?:(?:a\s+(?:maximum|minimum|total)\s+of|at\s+(?:least|most)|the(?:\s+(?:first|last|next))?)\s+)?"
    rf"{_MANY}\s+(?:\(\d+\)\s+)?(?:[a-z-]+\s+)?{_UNIT}\b"
    r"|within\s+the\s+(?:hour|day|week|month|quarter|year)\b"
    r"|(?:by|until|before|at)\s+the\s+end\s+of\s+[^,.;]{2,60}"
    r"|(?:up)?on\s+(?:the\s+)?(?:termination|completion|expir\w+|receipt|departure)\b[^,.;]{0,60}"
    r"|(?:by|before|on|through)\s+(?:\d{4}-\d\d-\d\d|\d{1,2}\s+[A-Z]\w+\s+\d{4}|[A-Z]\w+\s+\d{1,2},?\s+\d{4}))",
    re.IGNORECASE,
)
_BOUNDARY = re.compile(
    r"[,;:]\s+|\b(?:that|which|and|or|but|if|when|unless|where|provided)\s+", re.IGNORECASE
)
_END = re.compile(
    r"[,;:.]\s|[;:.]$|\s(?:unless|provided|except|if|when|where|because|so\s+that|but)\s", re.IGNORECASE
)
#: What is granted or permitted to somebody, where it is not said as `may`.
_GRANTED = re.compile(r"\bto\s+(?!any\b|the\b|an?\b|you\b|each\b|all\b|every\b)([a-z][\w-]+)")
_BY = re.compile(
    r"\bby\s+((?:the\s+|a\s+|an\s+|our\s+)?[\w' -]{2,60}?)"
    r"(?=\s+(?:in|within|outside|until|before|for)\b|[,.;]|$)"
)


def rules_in(text: str) -> Iterator[ExtractedRule]:
    """The rules of a text, in order, each with the sentence or list item that states it."""
    lead: _Clause | None = None
    for sentence in sentences(text):
        found = list(_modals(sentence))
        if not found and lead is not None and _is_item(sentence):
            yield from _stated(lead._replace(predicate=_ITEM.sub("", sentence)), sentence)
        for clause in found:
            yield from _stated(clause, sentence)
        if found and _LEAD.search(sentence):
            lead = None if found[-1].kind is None else found[-1]
        elif not _is_item(sentence):
            lead = None


def _is_item(sentence: str) -> bool:
    """Whether it can be an item of a list: marked as one, or no sentence of its own."""
    bare = _ITEM.sub("", sentence)
    return re.search(r"\w", bare) is not None and (bare != sentence or not sentence.endswith((".", "!", "?")))


def kinds_in(quote: str) -> frozenset[str]:
    """The kinds of rules that the words of a quotation tell."""
    return frozenset(clause.kind for clause in _modals(quote) if clause.kind is not None)


def telling(text: str) -> Sequence[str]:
    """The sentences of a text whose words tell a rule of some kind."""
    return [sentence for sentence in sentences(text) if kinds_in(sentence)]


def sentences(text: str) -> Iterator[str]:
    """Sentences and list items, with single spaces; lines that run on are joined."""
    joined = re.sub(r"(?<![.;:!?])\n(?=\s*[a-z(\"“])", " ", text)
    for piece in _SENTENCE_END.split(joined):
        if sentence := " ".join(piece.split()):
            yield sentence[:MAX_QUOTE]


class _Clause(NamedTuple):
    """That binds or frees somebody (kind None: frees them of a duty)."""

    kind: Kind | None
    subject: str
    predicate: str
    of_act: bool
    """Whether the subject may be what is done."""


def _modals(sentence: str) -> Iterator[_Clause]:
    # The month; an order to whoever reads it.
    matches = [one for one in _MODAL.finditer(sentence) if one[0] not in {"May", "Grant"}]
    found: list[str] = []
    for at, match in enumerate(matches):
        kind = _MODALS[int((match.lastgroup or "m0")[1:])][0]
        before = sentence[matches[at - 1].end() if at else 0 : match.start()]
        after = sentence[match.end() : matches[at + 1].start() if at + 1 < len(matches) else len(sentence)]
        if kind == "permission" and not re.search(
            r"\w", after
        ):  # what is permitted stands before: `Permission to copy is granted.`
            after = match[0] if " " in match[0] else before
        subject = _subject(before)
        if not subject and found:  # `and must be kept`: the same
            subject = found[-1]
        found.append(subject)
        of_act = _OF_ACTS.fullmatch(match[0]) is not None
        if of_act and kind != "permission" and _NOTHING.match(subject):
            kind = None  # no approval is required; nothing is prohibited
        elif kind in {"permission", "duty"} and _NOBODY.search(subject):
            kind = "prohibition"
        if kind == "permission" and _NOBODY.search(after[:12]):
            kind = "prohibition"
        if kind == "prohibition" and re.match(_NEVER, match[0], re.IGNORECASE):
            inverted = re.match(r"\s*(.+?)\s+(be\s+\w.*)$", after)
            subject, after = inverted.groups() if inverted else (subject, after)
        if of_act and kind != "permission":
            yield _Clause(None if _CONDITION.search(before) else kind, subject, after, of_act=True)
        else:
            yield _Clause(kind, subject[-MAX_PART:], after, of_act=False)


def _subject(before: str) -> str:
    """Who or what is spoken of, at the end of what stands before the modal."""
    bare = _ITEM.sub("", before).strip(' ,;:.-*•"“”()')
    if _LISTED.match(bare):
        return bare
    if inserted := _INSERTED.search(before):
        before = inserted[1]
    return _BOUNDARY.split(before)[-1].strip(' ,;:.-*•"“”()')


def _stated(clause: _Clause, quote: str) -> Iterator[ExtractedRule]:
    """The rule of a clause, where it says what is done."""
    if clause.kind is None:
        return
    if clause.of_act:
        listed = "following" in clause.subject.casefold()
        act = _ACT.match(clause.predicate.strip() if listed else clause.subject)
        if act is not None and not quote.endswith(":"):
            lasting = re.match(rf"\s+{_LASTING}", clause.predicate, re.IGNORECASE)
            if clause.kind == "prohibition" or _OBJECT.match(act["after"]) or lasting:
                yield _rule_of_act(clause.kind, act, "" if listed else clause.predicate, quote)
            return
        if clause.kind == "duty":  # a password is required
            return
    if re.search(r"\w", clause.predicate):
        yield _rule(clause.kind, clause.subject, clause.predicate, quote)


def _rule_of_act(kind: Kind, act: re.Match[str], adverbial: str, quote: str) -> ExtractedRule:
    """`act`: of `_ACT`. What is made an exception of is prohibited with the rest."""
    said = act["after"]
    adverbial = _OTHER_THAN.split(_END.split(f" {adverbial} ")[0])[0]
    place, until = (_first(one, said) or _first(one, adverbial) for one in (_PLACE, _UNTIL))
    clause = said
    for part in (place, until):
        clause = clause.partition(part)[0] if part else clause
    elsewhere = place.casefold().startswith("from") and not _MOVING.match(act["act"])
    if (other := _OTHER_THAN.search(said)) or elsewhere:
        place = ""
    clause = clause[: other.start()] if other else clause
    by = _BY.search(clause)
    clause = clause[: by.start()] if by else clause
    target = re.sub(r"^(?:of|to)\s+", "", clause.strip(" ,;:.()")) or act["before"]
    words = (part[:MAX_PART].strip() for part in (by[1] if by else "", target, place, until))
    return ExtractedRule(kind, act["act"], quote, *words, is_noun=True)


def _rule(kind: Kind, subject: str, predicate: str, quote: str) -> ExtractedRule:
    until = _first(_UNTIL, predicate)
    whole = predicate
    if kind == "permission" and (granted := _GRANTED.search(predicate)):
        predicate = predicate[granted.start(1) :]
    being = _BEING.search(predicate[:40])
    passive = being is None and re.match(r"\s*(?:\w+\s+){0,2}?be(?:en)?\s+\w+", predicate) is not None
    said = _ADVERB.sub("", predicate.strip(' ,;:.-*•"“”()'))
    action, _, rest = said.partition(" ")
    place = _place(whole, action)
    clause = _END.split(rest + " ")[0]
    for part in (place, until):
        clause = clause.partition(part)[0] if part else clause
    target, assignee = clause.strip(" ,;:.()"), subject
    if passive:
        by = _BY.search(clause)
        target, assignee = subject, by[1] if by else ""
    words = (part[:MAX_PART].strip() for part in (assignee, target, place, until))
    return ExtractedRule(kind, action.strip(",;:.()") or said[:MAX_PART], quote, *words)


def _place(text: str, action: str) -> str:
    """Where it is done; where to or from, of what carries something there."""
    for found in _PLACE.finditer(text):
        if _CARRYING.match(action) or not re.match(r"(?:to|from)\b", found[0], re.IGNORECASE):
            return found[0].strip(" ,;:.")
    return ""


def _first(pattern: re.Pattern[str], text: str) -> str:
    found = pattern.search(text)
    return found[0].strip(" ,;:.") if found else ""
