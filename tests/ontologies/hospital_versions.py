"""The hospital's module in two versions, with the migration from one to the next, written into folders."""

import shutil
from pathlib import Path

HOSPITAL = Path(__file__).parent / "hospital"

_MORE_VALUES = """
h:floor a owl:DatatypeProperty ; rdfs:domain h:Ward ; rdfs:range xsd:string ; rdfs:label "floor"@en .
h:nickname a owl:DatatypeProperty ; rdfs:domain h:Ward ; rdfs:range xsd:string ; rdfs:label "nickname"@en .
h:level a owl:DatatypeProperty ; rdfs:domain h:Ward ; rdfs:range xsd:integer ; rdfs:label "level"@en .
"""
_MORE_SHAPES = """[ sh:path h:floor ; sh:datatype xsd:string ; sh:maxCount 1 ] ,
        [ sh:path h:nickname ; sh:datatype xsd:string ; sh:maxCount 1 ] ,
        [ sh:path h:level ; sh:datatype xsd:integer ; sh:maxCount 1 ] ,
        [ sh:path h:hasBed"""
MIGRATION = """
module = "https://hospital.example/ontology"
from = "2.1.0"
to = "3.0.0"

[[step]]
rename_class = "Ward"
to = "CareUnit"

[[step]]
rename_value = "wardCode"
to = "unitCode"

[[step]]
rename_relationship = "ASSIGNED_TO"
to = "WORKS_AT"

[[step]]
move_values = "floor"
to = "level"
map = { ground = 0, first = 1 }

[[step]]
drop_value = "nickname"

[[step]]
drop_relationship = "ADJACENT_TO"
"""
_RENAMED = (
    ("h:Ward", "h:CareUnit"),
    ('"Ward"', '"CareUnit"'),
    ("ward:{", "care_unit:{"),
    ("type ward", "type care_unit"),
    ('"ward"\n', '"care_unit"\n'),
    ("wardCode", "unitCode"),
    ("assignedTo", "worksAt"),
    ("ASSIGNED_TO", "WORKS_AT"),
    ("2.1.0", "3.0.0"),
)
_GONE = (
    _MORE_VALUES.split("h:level", maxsplit=1)[0],
    _MORE_SHAPES.split("[ sh:path h:level", maxsplit=1)[0],
    ",\n        [ sh:path h:adjacentTo ; sh:class h:CareUnit ]",
    "h:adjacentTo a owl:ObjectProperty, owl:SymmetricProperty ;\n"
    "    rdfs:domain h:CareUnit ; rdfs:range h:CareUnit ;\n"
    '    rdfs:label "is next to"@en ; og:inverseLabel "is next to"@en .\n',
    '[[rule.relationship]]\ntype = "ADJACENT_TO"\nend = "care_unit:{next_to}"\n',
    ', floor = "floor", nickname = "nickname"',
)


def before(folder: Path) -> Path:
    """Version 2.1.0; its `sources.toml`."""
    shutil.copytree(HOSPITAL, folder)
    _change(folder / "ontology" / "wards.ttl", ("\nh:wardCode a", _MORE_VALUES + "\nh:wardCode a"))
    _change(folder / "ontology" / "wards-shapes.ttl", ("[ sh:path h:hasBed", _MORE_SHAPES))
    _change(
        folder / "mapping.toml",
        (
            'wardCode = "code" }',
            'wardCode = "code", floor = "floor", nickname = "nickname", level = "level" }',
        ),
    )
    _change(
        folder / "wards.yaml",
        ("code: C01,", "code: C01, floor: ground, nickname: Heart,"),
        ("code: O07 }", "code: O07, floor: first, nickname: Onco }"),
        (
            "  - { key: c2, ward: cardiology }",
            "  - { key: c2, ward: cardiology }\n  - { key: c3, ward: roof }",
        ),
    )
    return folder / "sources.toml"


def after(folder: Path, migration: str = MIGRATION) -> Path:
    """Version 3.0.0, and what the source then says in its words; its `sources.toml`."""
    before(folder)
    for path in (*(folder / "ontology").iterdir(), folder / "mapping.toml", folder / "sources.toml"):
        text = _renamed(path.read_text(encoding="utf-8"))
        for gone in _GONE:
            text = text.replace(_renamed(gone), "")
        path.write_text(text, encoding="utf-8")
    _change(
        folder / "wards.yaml",
        ("floor: ground, nickname: Heart", "level: 0"),
        ("floor: first, nickname: Onco", "level: 1"),
    )
    (folder / "ontology" / "migrations").mkdir()
    (folder / "ontology" / "migrations" / "3.0.0.toml").write_text(migration, encoding="utf-8")
    return folder / "sources.toml"


REMOVAL = """
module = "https://hospital.example/ontology"
from = "3.0.0"
to = "4.0.0"

[[step]]
drop_class = "CareUnit"

[[step]]
drop_class = "Bed"

[[step]]
drop_relationship = "WORKS_AT"

[[step]]
drop_relationship = "HAS_BED"

[[step]]
drop_relationship = "STANDS_IN"

[[step]]
drop_value = "unitCode"

[[step]]
drop_value = "level"
"""


def emptied(folder: Path) -> Path:
    """Version 4.0.0, of which nothing is left but its migration; its `sources.toml`."""
    sources = after(folder)
    ontology = folder / "ontology"
    text = (ontology / "wards.ttl").read_text(encoding="utf-8").replace("3.0.0", "4.0.0")
    (ontology / "wards.ttl").write_text(text.split("# Other words", maxsplit=1)[0], encoding="utf-8")
    for name in ("wards-shapes.ttl", "wards.fga", "bindings.toml"):
        (ontology / name).unlink()
    (ontology / "migrations" / "4.0.0.toml").write_text(REMOVAL, encoding="utf-8")
    mapping = folder / "mapping.toml"
    text = mapping.read_text(encoding="utf-8")
    mapping.write_text(text.split('[[rule]]\neach = "wards"', maxsplit=1)[0], encoding="utf-8")
    _change(mapping, ('[[rule.relationship]]\ntype = "WORKS_AT"\nend = "care_unit:{ward}"\n', ""))
    _change(sources, ('"WORKS_AT", ', ""))
    return sources


def removed(folder: Path) -> Path:
    """Without the module; its `sources.toml`."""
    sources = emptied(folder)
    shutil.rmtree(folder / "ontology")
    _change(sources, ('ontology = ["ontology"]\n', ""))
    return sources


def _renamed(text: str) -> str:
    for old, new in _RENAMED:
        text = text.replace(old, new)
    return text


def _change(path: Path, *changes: tuple[str, str]) -> None:
    text = path.read_text(encoding="utf-8")
    for old, new in changes:
        assert old in text, (path, old)
        text = text.replace(old, new, 1)
    path.write_text(text, encoding="utf-8")
