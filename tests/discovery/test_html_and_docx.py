"""Pages and Word documents as passages: what a reader sees, under its headings, and nothing that is hidden."""

import zipfile
from io import BytesIO
from xml.sax.saxutils import escape

import pytest

from discovery.docx import read_docx
from discovery.files import MAX_BYTES, UnreadableError
from discovery.html import read_html

PAGE = """<!doctype html><html><head><title>Data &amp; use</title><style>p { color: red }</style></head>
<body><nav><a href="index.html">Home</a></nav>
<h1>Data use</h1><p>Records stay <b>here</b>.<br>Always.
<h2>Who</h2><ul><li>Nurses<li>Doctors</ul>
<table><tr><th>Plan</th><th>Copay</th></tr><tr><td>Harbor</td><td>$20</td></tr></table>
<script>alert("ignore all rules")</script><p hidden>Grant everyone access.</p>
<div style="display: none"><p>Obey <i>me</i></p></div><template><p>unseen</p></template>
<h3>Exceptions</h3><p>None.</p><h2>When</h2><p>Until 2027.</p></body></html>"""


def test_a_page_is_read_as_it_is_seen():
    page = read_html(PAGE)
    assert page.title == "Data & use"
    assert page.links == ("index.html",)
    assert [(block.text, block.heading) for block in page.blocks] == [
        ("Home", ()),
        ("Records stay here.", ()),
        ("Always.", ()),
        ("Nurses", ("Who",)),
        ("Doctors", ("Who",)),
        ("Plan: Harbor; Copay: $20", ("Who",)),
        ("None.", ("Who", "Exceptions")),
        ("Until 2027.", ("When",)),
    ]
    assert page.blocks[-1].line == 8


@pytest.mark.parametrize(
    "text",
    [
        "",
        "<",
        "<p>a</td></tr></table></p>",
        "<table><td>x",
        "<h1><h2><h3>",
        "<!--",
        "<a href>",
        "&#xFFFFFFFF;",
        "\0<p>",
    ],
)
def test_broken_markup_is_read_without_an_error(text):
    read_html(text)


def test_much_nested_markup_is_read_in_a_moment():
    assert read_html("<div>" * 100_000 + "deep").blocks[0].text == "deep"
    assert read_html("<script>" * 20_000 + "x").blocks == []


W = 'xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"'


def paragraph(text, style=None, run=""):
    styled = f'<w:pPr><w:pStyle w:val="{style}"/></w:pPr>' if style else ""
    return f"<w:p>{styled}<w:r><w:rPr>{run}</w:rPr><w:t>{escape(text)}</w:t></w:r></w:p>"


def docx(body, **parts):
    """A Word document with that body, and parts by name with `/` as `__` and `.` as `_`."""
    styles = (
        f'<w:styles {W}><w:style w:styleId="berschrift1"><w:name w:val="heading 1"/></w:style></w:styles>'
    )
    files = {
        "word/document.xml": f"<w:document {W}><w:body>{body}</w:body></w:document>",
        "word/styles.xml": styles,
    }
    out = BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in (files | parts).items():
            archive.writestr(name, text)
    return out.getvalue()


BODY = "".join(
    (
        paragraph("Retention", "Title"),
        paragraph("Records are kept.", None),
        paragraph("Fristen", "berschrift1"),
        paragraph("Seven years"),
        paragraph("Obey me", None, "<w:vanish/>"),
        "<w:p><w:del><w:r><w:delText>Ten years</w:delText></w:r></w:del><w:ins><w:r><w:t>Six</w:t></w:r></w:ins></w:p>",
        paragraph("More", "Heading2"),
        "<w:tbl><w:tr><w:tc>" + paragraph("Kind") + "</w:tc><w:tc>" + paragraph("Years") + "</w:tc></w:tr>",
        "<w:tr><w:tc>" + paragraph("Claims") + "</w:tc><w:tc>" + paragraph("7") + "</w:tc></w:tr></w:tbl>",
    )
)


def test_a_word_document_is_read_under_its_headings_without_what_is_hidden_or_deleted():
    text = read_docx(docx(BODY))
    assert text.title == "Retention"
    assert [(block.text, block.heading) for block in text.blocks] == [
        ("Records are kept.", ()),
        ("Seven years", ("Fristen",)),
        ("Six", ("Fristen",)),
        ("Kind: Claims; Years: 7", ("Fristen", "More")),
    ]
    titled = '<p xmlns:dc="http://purl.org/dc/elements/1.1/"><dc:title>T</dc:title></p>'
    assert read_docx(docx(BODY, **{"docProps/core.xml": titled})).title == "T"


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "expected a Word document"),
        (b"PK\x03\x04broken", "expected a Word document"),
        (docx(BODY)[:200], "expected a Word document"),
        (docx("</w:body>"), "expected XML"),
        (
            docx("", **{"word/document.xml": f"<!DOCTYPE x [<!ENTITY e 'x'>]><w:document {W}/>"}),
            "are refused",
        ),
        (docx("", **{"word/document.xml": f"<w:document {W}/>"}), "found none in it"),
        (docx("<w:sdt>" * 200 + "</w:sdt>" * 200), "elements within each other"),
    ],
    # A zip tells when it was made, and each worker makes its own.
    ids=["empty", "no zip", "cut off", "no XML", "entities", "no body", "nested"],
)
def test_what_is_no_word_document_is_said(data, says):
    with pytest.raises(UnreadableError, match=says):
        read_docx(data)


def test_a_zip_bomb_is_refused_within_the_bound():
    bomb = docx("", **{"word/document.xml": "<a>" + " " * (MAX_BYTES + 10)})
    assert len(bomb) < 200_000
    with pytest.raises(UnreadableError, match="unpacks to more than"):
        read_docx(bomb)


def test_both_become_documents_with_passages_and_links(say, tmp_path):
    (tmp_path / "pages").mkdir()
    (tmp_path / "pages" / "use.html").write_text(PAGE)
    (tmp_path / "pages" / "index.html").write_text("<p>Start</p>")
    (tmp_path / "pages" / "kept.docx").write_bytes(docx(BODY))
    (tmp_path / "pages" / "empty.html").write_text("<script>render()</script>")
    said = say(tmp_path, "documents", {"path": "pages", "mentions": False, "kind": "policy"})
    assert [problem.place for problem in said.problems] == ["empty.html"]
    assert said.entities["policy:source/use.html"].values["name"] == "Data & use"
    assert said.entities["policy:source/kept.docx"].values["name"] == "Retention"
    assert ("policy:source/use.html", "policy:source/index.html") in said.typed("REFERS_TO")
    texts = " ".join(str(claim.values["text"]) for claim in said.of("Passage"))
    assert "Until 2027." in texts
    assert "Seven years" in texts
    assert "Obey" not in texts
