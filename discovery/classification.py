"""Proposals of classifications, by names and by values sampled in place. No value leaves this module.

A proposal is CLASSIFIED_AS with a confidence below 1, and counts for handling as a declared one does: a
classification adds rules to the meet, so it can tighten where something may be processed, never loosen.
Labels follow the Data Privacy Vocabulary (dpv:PersonalData, dpv-pd:MedicalHealth, dpv-pd:FinancialAccount,
dpv-pd:Authenticating).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from datetime import date
from urllib.parse import unquote

PERSONAL, HEALTH, PAYMENT = "personal-data", "health-data", "payment-data"
CREDENTIALS, EXPORT = "credentials", "export-controlled"
LABELS = (PERSONAL, HEALTH, PAYMENT, CREDENTIALS, EXPORT)

#: Confidence by what a proposal rests on.
BY_NAME, BY_OWNER, BY_VALUES = 0.7, 0.6, 0.9
#: Share of the sampled values that must be of a kind, and how many there must be.
_SHARE, _LEAST = 0.6, 3
#: Characters of a text that are looked at.
_TEXT = 20_000

#: Words, as sequences of parts of a name (`first_name`, `firstName` and `First name` have the same).
_WORDS: Mapping[str, str] = {
    PERSONAL: (
        "first name|last name|given name|family name|middle name|full name|maiden name|surname|forename|"
        "nickname|user name|username|email|e mail|phone|telephone|mobile|fax|address|postal code|postcode|"
        "zip|zip code|birth date|date of birth|dob|birthday|birthplace|gender|sex|ethnicity|nationality|"
        "religion|marital status|ssn|social security|passport|national id|tax id|driver license|ip address|"
        "salary|photo|picture|portrait|latitude|longitude|author|contact"
    ),
    HEALTH: (
        "diagnosis|diagnose|icd|symptom|allergy|allergie|medication|prescription|"
        "blood type|blood pressure|disability|patient|medical|health|treatment|immunization|vaccine|mrn|"
        "npi|dosage|lab result|pregnancy"
    ),
    PAYMENT: (
        "card number|credit card|debit card|cvv|cvc|pan|iban|bic|swift|routing number|account number|"
        "bank account|sort code|payment|billing|invoice total|amount paid|expiry date card"
    ),
    CREDENTIALS: (
        "password|passwd|pwd|passphrase|pin code|secret|api key|apikey|access key|private key|token|"
        "refresh token|salt|credential|otp|mfa secret|password hash"
    ),
    EXPORT: "eccn|itar|ear 99|usml|export control|export controlled|munitions|dual use",
}
#: What a column says of a person where its table is of persons.
_OF_PERSONS = "name|title|city|state|country|district|region|hire date|age|language|notes|comment|manager"
_PERSONS = (
    "person|people|customer|employee|staff|member|user|patient|contact|author|actor|student|client|"
    "applicant|candidate|subscriber|guest|donor|lead"
)
#: What a column says of a payment where its table is of payments.
_OF_PAYMENTS = "amount|total|date|paid|balance|currency|due"
_PAYMENTS = "payment|invoice|transaction|refund|charge|payout|billing"


def _pattern(words: str) -> re.Pattern[str]:
    return re.compile(rf"(?:^| )(?:{words})(?:$| )")


_NAMES = {label: _pattern(words) for label, words in _WORDS.items()}
_OWNED = (
    (PERSONAL, _pattern(_PERSONS), _pattern(_OF_PERSONS)),
    (PAYMENT, _pattern(_PAYMENTS), _pattern(_OF_PAYMENTS)),
)
_SUFFIX = re.compile(r"\.(?:csv|tsv|parquet|jsonl?|ndjson|txt|xlsx?|docx?|pdf|md)$", re.IGNORECASE)
#: A number that stands for a row, or a switch, tells nothing.
_KEYS = re.compile(r"(?:^| )(?:id|uuid|key|count|flag)$|^(?:id|is|has) ")


def by_name(entity: str) -> Mapping[str, float]:
    """Labels of what an id such as `column:shop/customer/email` names, with the confidence of each."""
    owner, _, name = unquote(entity.partition(":")[2]).rpartition("/")
    words, owner_words = _words(_SUFFIX.sub("", name)), _words(_SUFFIX.sub("", owner.rpartition("/")[2]))
    secret = {CREDENTIALS: BY_NAME} if _NAMES[CREDENTIALS].search(words) else {}
    if _KEYS.search(words):
        return secret
    found = {label: BY_NAME for label, pattern in _NAMES.items() if pattern.search(words)}
    for label, owners, owned in _OWNED:
        if owners.search(owner_words) and owned.search(words):
            found.setdefault(label, BY_OWNER)
    return found


def _words(name: str) -> str:
    """Parts of a name in lower case; a plural owner as its singular too."""
    split = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|[^A-Za-z0-9]+|(?<=[A-Za-z])(?=\d)", " ", name).lower().split()
    return " ".join(word[:-1] if len(word) > 4 and word.endswith("s") and word[-2] not in "su" else word
                    for word in split)  # fmt: skip


_EMAIL = re.compile(r"[\w.+-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63})+")
_PHONE = re.compile(r"\+?\(?\d[\d ().-]{7,18}\d")
_SSN = re.compile(r"\b(?!000|666|9\d\d)\d{3}-(?!00)\d{2}-(?!0000)\d{4}\b")
_CARD = re.compile(r"\b(?:\d[ -]?){12,18}\d\b")
_IBAN = re.compile(r"\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,4})?\b")
_ICD = re.compile(r"[A-TV-Z]\d[0-9A-Z]\.[0-9A-Z]{1,4}")
_SECRET = re.compile(
    r"-----BEGIN [A-Z ]*PRIVATE KEY-----|\bAKIA[0-9A-Z]{16}\b|\bgh[pousr]_[A-Za-z0-9]{36,}\b"
    r"|\beyJ[\w-]{8,}\.eyJ[\w-]{8,}\.[\w-]{8,}|\$2[aby]\$\d\d\$[./A-Za-z0-9]{53}|\$argon2id?\$"
)
_ECCN = re.compile(r"\b(?:ECCN[ :]+[0-9][A-E]\d{3}|EAR99|USML Category [IVX]+|ITAR)\b")


def _luhn(text: str) -> bool:
    digits = [int(c) for c in text if c.isdigit()]
    doubled = (d if at % 2 == 0 else d * 2 - 9 * (d > 4) for at, d in enumerate(reversed(digits)))
    return 13 <= len(digits) <= 19 and len(set(digits)) > 1 and sum(doubled) % 10 == 0


def _iban(text: str) -> bool:
    plain = text.replace(" ", "")
    moved = plain[4:] + plain[:4]
    return 15 <= len(plain) <= 34 and int("".join(str(int(c, 36)) for c in moved)) % 97 == 1


def _phone(text: str) -> bool:
    digits = [c for c in text if c.isdigit()]
    if _PHONE.fullmatch(text) is None or not 9 <= len(digits) <= 15:
        return False
    try:  # 2026-01-31 is none
        date.fromisoformat(text[:10])
    except ValueError:
        return text.startswith("+") or not text.isdigit()
    return False


#: Of a whole value.
_VALUES: tuple[tuple[str, Callable[[str], object]], ...] = (
    (PERSONAL, _EMAIL.fullmatch),
    (PERSONAL, _phone),
    (PERSONAL, _SSN.fullmatch),
    (PAYMENT, lambda text: _CARD.fullmatch(text) and _luhn(text)),
    (PAYMENT, lambda text: _IBAN.fullmatch(text) and _iban(text)),
    (HEALTH, _ICD.fullmatch),
    (CREDENTIALS, _SECRET.search),
)
#: Within a text.
_FINDS: tuple[tuple[str, re.Pattern[str], Callable[[str], object]], ...] = (
    (PERSONAL, _EMAIL, bool),
    (PERSONAL, _SSN, bool),
    (PAYMENT, _CARD, _luhn),
    (PAYMENT, _IBAN, _iban),
    (CREDENTIALS, _SECRET, bool),
    (EXPORT, _ECCN, bool),
)


def by_values(values: Iterable[object]) -> Mapping[str, float]:
    """Labels that most of some sampled values of one column bear."""
    texts = [str(value).strip()[:200] for value in values if value is not None]
    texts = [text for text in texts if text]
    if len(texts) < _LEAST:
        return {}
    return {
        label: BY_VALUES
        for label, is_one in _VALUES
        if sum(bool(is_one(text)) for text in texts) >= _SHARE * len(texts)
    }


def in_text(text: str) -> Mapping[str, float]:
    """Labels of what stands in a text."""
    head = text[:_TEXT]
    return {
        label: BY_VALUES
        for label, pattern, holds in _FINDS
        if any(holds(found[0]) for found in pattern.finditer(head))
    }


def best(*proposals: Mapping[str, float]) -> Mapping[str, float]:
    """Each label once, with its highest confidence."""
    found: dict[str, float] = {}
    for proposal in proposals:
        for label, confidence in proposal.items():
            found[label] = max(confidence, found.get(label, 0.0))
    return found
