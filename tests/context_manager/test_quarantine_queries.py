"""Who may see what the gate keeps out."""

from datetime import timedelta
from types import SimpleNamespace
from typing import Any

from cryptography.fernet import Fernet

from context_manager.graphql_schema import Parts, RequestContext, build_schema
from graph.claims import Claim, EntityClaim, RelationshipClaim, SourcePolicy
from graph.reads import Asker
from graph.revision_token import RevisionTokens
from graph.token_scope import TokenScope
from tests.context_manager.test_administration import (
    ADA,
    HANA,
    HR,
    LENA,
    ROOT,
    TOM,
    Acme,
    acme,  # noqa: F401  a fixture
)

WARD = "collection:ward"
#: It may speak of what is in `hr` and in `ward`.
SURVEY = SourcePolicy("survey", frozenset(), frozenset({HR, WARD}), 50, timedelta(days=1))
QUERY = "{ quarantine { source scope evidence entity shape value message } }"


def document(key: str, collection: str, **values: Any) -> EntityClaim:
    return EntityClaim(f"document:{key}", "Document", collection, {"name": key, **values}, f"{key}.md:1")


REFUSED: list[Claim] = [
    document("hr-0", HR, effectiveFrom="soon"),
    document("hr-1", WARD, description="the ward's secret"),  # it stands in `hr`
    document("new", HR, effectiveFrom="later"),  # it stands nowhere
    RelationshipClaim("document:hr-0", "REFERS_TO", "person:ada", "hr-0.md:2"),
    RelationshipClaim("document:ward-0", "REFERS_TO", "person:ada", "ward-0.md:2"),
]


async def told(acme: Acme, asker: Asker) -> Any:  # noqa: F811
    tokens = RevisionTokens(Fernet.generate_key())
    asking = SimpleNamespace(ontology=acme.desk.ontology, reader=acme.desk.reader)
    context = RequestContext(Parts(asking, acme.desk, tokens), asker)  # type: ignore[arg-type]
    return await build_schema(tokens).execute(QUERY, context_value=context)


async def test_the_administrator_sees_all_of_it_and_an_owner_what_is_theirs(acme: Acme) -> None:  # noqa: F811
    async with acme.store.crawl(SURVEY, "answers") as crawl:
        assert len((await crawl.write(REFUSED)).quarantined) == len(REFUSED)
    result = await told(acme, ROOT)
    assert result.extensions.keys() == {"revision"}
    whole = result.data["quarantine"]
    assert sorted(one["evidence"] for one in whole) == [
        "hr-0.md:1",
        "hr-0.md:2",
        "hr-1.md:1",
        "new.md:1",
        "ward-0.md:2",
    ]
    [dated] = [one for one in whole if one["evidence"] == "hr-0.md:1"]
    assert (dated["source"], dated["scope"], dated["entity"]) == ("survey", "answers", "document:hr-0")
    assert (dated["shape"], "soon" in dated["value"]) == ("og:datatype", True)
    assert "dateTime" in dated["message"]
    # Hana owns `hr` and `ward`; Tom neither; Lena may decide about `hr`, and does not see it.
    hers = (await told(acme, HANA)).data["quarantine"]
    assert [one["evidence"] for one in hers] == ["hr-0.md:1", "hr-0.md:2", "ward-0.md:2"]
    for asker in (TOM, LENA, ADA):
        assert (await told(acme, asker)).data == {"quarantine": []}
    reading = Asker(HANA.account, scope=TokenScope(frozenset({"read"})))
    assert "its scope lacks 'administer'" in (await told(acme, reading)).errors[0].message
