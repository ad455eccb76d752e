"""What is published is what is served."""

from pathlib import Path

import pytest

from context_manager.graphql_schema import sdl
from graphql import GraphQLField, build_schema

PUBLISHED = Path(__file__).resolve().parents[2] / "graphql" / "schema.graphql"


def test_the_published_sdl_is_that_of_the_code() -> None:
    assert PUBLISHED.read_text(encoding="utf-8") == sdl(), "run `make schema`"


def test_the_folder_is_no_package_so_that_graphql_core_is_found() -> None:
    assert not (PUBLISHED.parent / "__init__.py").exists()


SCHEMA = build_schema(sdl())
FIELDS = {
    f"{root.name}.{name}": field
    for root in (SCHEMA.query_type, SCHEMA.subscription_type)
    if root is not None
    for name, field in root.fields.items()
}


@pytest.mark.parametrize("field", FIELDS.values(), ids=FIELDS)
def test_each_read_takes_a_point_of_both_times_or_says_that_it_does_not(field: GraphQLField) -> None:
    """What takes none is refused there, by name: nothing that is asked of the past is answered of now."""
    told = field.description or ""
    if {"asOf", "validAt"} <= field.args.keys():
        assert field.args["asOf"].description
        assert field.args["validAt"].description
    else:
        assert not {"asOf", "validAt"} & field.args.keys()
        assert told.endswith((" Of the present alone.", " With all that was, and when.")), told
