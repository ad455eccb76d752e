"""Small files that are made to take much: each is read, or a line in the report, within bounds."""

import io
import json
import zipfile
import zlib
from collections.abc import Callable

import pytest

from tests.discovery.bounded import read_within_bounds
from tests.discovery.test_fuzzing import KINDS, MAPPING

W = 'xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"'
BPMN = '<definitions xmlns="http://www.omg.org/spec/BPMN/20100524/MODEL">{}</definitions>'


def text(content: str) -> Callable[[], bytes]:
    return content.encode


def as_json(content: object) -> Callable[[], bytes]:
    return lambda: json.dumps(content).encode()


def yaml_aliases() -> bytes:
    """Ten to the ninth values."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]
    return "\n".join([*lines, "people: *a8"]).encode()


def docx_of(body: str, **more: bytes) -> Callable[[], bytes]:
    def make() -> bytes:
        data = io.BytesIO()
        with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("word/document.xml", f"<w:document {W}><w:body>{body}</w:body></w:document>")
            for name, content in more.items():
                archive.writestr(f"word/{name}.xml", content)
        return data.getvalue()

    return make


def pdf(*objects: bytes, root: bytes = b"1 0 R") -> Callable[[], bytes]:
    """A PDF of these objects, the first being the catalogue."""

    def make() -> bytes:
        data, places = b"%PDF-1.7\n", []
        for number, content in enumerate(objects, start=1):
            places.append(len(data))
            data += b"%d 0 obj\n%s\nendobj\n" % (number, content)
        table = b"".join(b"%010d 00000 n \n" % place for place in places)
        end = b"trailer\n<< /Size %d /Root %s >>\nstartxref\n%d\n%%%%EOF" % (
            len(objects) + 1,
            root,
            len(data),
        )
        return data + b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1) + table + end

    return make


def stream(content: bytes, **more: bytes) -> bytes:
    packed = zlib.compress(content, 9)
    entries = b" ".join(b"/%s %s" % (name.encode(), value) for name, value in more.items())
    head = b"<< /Length %d /Filter /FlateDecode %s >>" % (len(packed), entries)
    return head + b"\nstream\n" + packed + b"\nendstream"


CATALOGUE = b"<< /Type /Catalog /Pages 2 0 R >>"
PAGES = b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>"
FONT = b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>"


def page_with(content: bytes, font: bytes = FONT) -> Callable[[], bytes]:
    page = (
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents 4 0 R "
        b"/Resources << /Font << /F1 5 0 R >> >> >>"
    )
    return pdf(CATALOGUE, PAGES, page, stream(content), font, stream(b"1 begincodespacerange <0000> <ffff> "
        b"endcodespacerange 1 beginbfrange <00000000> <ffffffff> <0000> endbfrange"))  # fmt: skip


def ladder(step: Callable[[int], object], rungs: int = 19) -> dict[str, object]:
    return {f"s{n}": step(n) for n in range(rungs)}


def openapi_ladder() -> bytes:
    def step(n: int) -> object:
        above = [{"$ref": f"#/components/schemas/s{n + 1}"}] * 4 if n < 18 else []
        return {"allOf": above, "properties": {f"p{n}": {}}}

    return json.dumps({"openapi": "3", "info": {}, "components": {"schemas": ladder(step)}}).encode()


def oscal_params() -> bytes:
    def param(n: int) -> object:
        inserted = f"{{{{ insert: param, p{n + 1} }}}}" * 900 if n < 3 else "x" * 1_000
        return {"id": f"p{n}", "values": [inserted]}

    control = {
        "id": "a", "title": "A", "params": [param(n) for n in range(4)],
        "parts": [{"name": "statement", "prose": "{{ insert: param, p0 }}"}],
    }  # fmt: skip
    return json.dumps({"catalog": {"metadata": {"title": "T"}, "controls": [control]}}).encode()


MANY = 200_000
FILES: dict[str, tuple[str, Callable[[], bytes]]] = {
    "xml: many elements of a name": ("xml", text(f"<a><people>{'<b/>' * MANY}</people></a>")),
    "xml: many attributes": ("xml", text("<a><people " + " ".join(f"a{n}=''" for n in range(MANY)) + "/></a>")),
    "xml: more tags than may be": ("xml", lambda: b"<a>" + b"<b/>" * 3_000_000 + b"</a>"),
    "yaml: aliases of aliases": ("yaml", yaml_aliases),
    "yaml: many values": ("yaml", lambda: b"people: [" + b"[]," * 600_000 + b"]"),
    "yaml: many merges": ("yaml", text("a: &a {" + ", ".join(f"k{n}: 1" for n in range(2_000)) + "}\npeople:\n"
        + "".join(f"  - <<: [{', '.join(['*a'] * 200)}]\n" for _ in range(20)))),
    "json: many values": ("json", lambda: b'{"people": [' + b"{}," * 5_000_000 + b"{}]}"),
    "json: a long number": ("json", lambda: b'{"people": ' + b"9" * 1_000_000 + b"}"),
    "toml: a key of many parts": ("toml", lambda: b"people" + b".a" * MANY + b" = 1\n"),
    "toml: a table of many parts": ("toml", lambda: b"[people" + b".a" * MANY + b"]\n"),
    "csv: short rows under a long header": ("csv", text(",".join(f"a{n}" for n in range(2_000)) + "\n" + "1\n" * MANY)),
    "csv: many rows": ("csv", lambda: b"people\n" + b"1\n" * 1_500_000),
    "ldif: a long line, folded": ("ldif", lambda: b"dn: cn=a\n" + b" a\n" * 1_000_000),
    "markdown: blank lines of code": ("markdown", lambda: b"```\n" + b"w " * 300 + b"\n" * 900_000 + b"\n```\n"),
    "markdown: brackets": ("markdown", lambda: b"[" * 100_000),
    "markdown: images": ("markdown", lambda: b"![" * 50_000),
    "markdown: emphasis": ("markdown", lambda: b"*a **a " * 50_000),
    "markdown: emphasis that never closes": ("markdown", lambda: b"a**b" + b"c* " * 100_000),
    "markdown: backticks": ("markdown", lambda: b" ".join(b"`" * n for n in range(1, 1_000))),
    "markdown: tags": ("markdown", lambda: b"<a " * 100_000),
    "markdown: quotations": ("markdown", lambda: b"> " * 100_000),
    "markdown: lists": ("markdown", lambda: b"* " * 100_000),
    "markdown: references": ("markdown", text("".join(f"[a{n}]: /x\n" for n in range(40_000)))),
    "markdown: a wide table": ("markdown", lambda: b"|a" * 5_000 + b"\n" + b"|-" * 5_000 + b"\n" + b"|b\n" * 5_000),
    "markdown: entities": ("markdown", lambda: b"&" * 400_000),
    "html: unseen elements": ("html", lambda: b"<svg>" + b"<b>" * MANY + b"</i>" * MANY),
    "html: a wide table": ("html", lambda: b"<table><tr>" + b"<td>a" * 50_000 + b"<tr><td>b" * 50_000 + b"</table>"),
    "html: attributes": ("html", lambda: b"<a " + b"b=c " * MANY + b">x</a>"),
    "html: a tag that never ends": ("html", lambda: b"<a " * 300_000),
    "html: a comment that never ends": ("html", lambda: b"<!-- -" * 300_000),
    "html: declarations": ("html", lambda: b"<![" * 100_000),
    "docx: a part that unpacks to much": ("docx", docx_of("<w:p/>", styles=b" " * (200 << 20))),
    "docx: tables within tables": ("docx", docx_of("<w:tbl><w:tr><w:tc>" * 30 + "<w:p><w:r><w:t>x</w:t></w:r></w:p>" * 5_000 + "</w:tc></w:tr></w:tbl>" * 30)),
    "docx: many entries": ("docx", docx_of("<w:p/>", **{f"x{n}": b"" for n in range(20_000)})),
    "pdf: a page that unpacks to much": ("pdf", page_with(b"BT /F1 9 Tf (a) Tj ET " * (20 << 20))),
    "pdf: text far away": ("pdf", page_with(b"BT /F1 9 Tf 1 0 0 1 1000000000 700 Tm (far) Tj 1 0 0 1 9 -900000000 Tm (away) Tj ET")),
    "pdf: very small text": ("pdf", page_with(b"BT /F1 0.000001 Tf 1 0 0 1 9 700 Tm (a) Tj 1 0 0 1 500 700 Tm (b) Tj ET")),
    "pdf: arrays within each other": ("pdf", page_with(b"[" * 500_000)),
    "pdf: a character map of all numbers": ("pdf", page_with(b"BT /F1 9 Tf (a) Tj ET", b"<< /Type /Font /Subtype /Type1 /BaseFont /X /ToUnicode 6 0 R >>")),
    "pdf: pages that contain themselves": ("pdf", pdf(CATALOGUE, b"<< /Type /Pages /Kids [2 0 R 2 0 R] /Count 9 >>")),
    "pdf: pages of pages": ("pdf", pdf(CATALOGUE, *(b"<< /Type /Pages /Count 1 /Kids [" + b"%d 0 R " % (n + 3) * 10 + b"] >>" for n in range(12)), b"<< /Type /Page >>")),
    "pdf: an object within itself": ("pdf", pdf(CATALOGUE, PAGES, b"3 0 R")),
    "bpmn: many steps in lanes": ("bpmn", lambda: BPMN.format('<process id="p"><laneSet>' + "".join(f'<lane id="l{n}"><flowNodeRef>t{n}</flowNodeRef></lane>' for n in range(3_000)) + "</laneSet>" + "".join(f'<task id="t{n}"/><sequenceFlow sourceRef="t{n}" targetRef="t{n // 2}"/>' for n in range(20_000)) + "</process>").encode()),
    "oscal: parameters within parameters": ("oscal", oscal_params),
    "openapi: schemas of schemas": ("openapi", openapi_ladder),
    "actions: jobs that need all": ("actions", as_json({"on": "push", "jobs": {f"j{n}": {"needs": [f"j{m}" for m in range(300)], "steps": []} for n in range(300)}})),
    "parquet: a footer that promises much": ("parquet", lambda: b"PAR1\x15\x04\x19\xfc\xff\xff\xff\xff\x0f" + b"\x00" * 64 + (70).to_bytes(4, "little") + b"PAR1"),
    "data csv: a long line": ("data csv", lambda: b"a," * 2_000_000),
    "data json: lists within each other": ("data json", lambda: b'{"a": ' + b"[" * 500_000),
    "rdf: lists within each other": ("rdf", lambda: b"<https://x.example/a> <https://x.example/b> " + b"(" * 300_000),
    "rdf: a long literal": ("rdf", lambda: b"<https://x.example/a> <https://x.example/b> '" + b"a" * 5_000_000 + b"' ."),
    "json-ld: objects within each other": ("json-ld", lambda: b'{"@id":' * 300_000),
}  # fmt: skip


@pytest.mark.parametrize("name", FILES)
def test_what_is_made_to_take_much_ends_within_bounds(tmp_path, name):
    kind_name, make = FILES[name]
    kind = KINDS[kind_name]
    (tmp_path / "m.toml").write_text(MAPPING)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / f"hostile{kind.suffix}").write_bytes(make())
    claims, problems = read_within_bounds(tmp_path, kind.connector, kind.options())
    assert claims or problems
    for problem in problems:
        assert 0 < len(problem.message) < 5_000
