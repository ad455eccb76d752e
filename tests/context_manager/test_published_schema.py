"""What is published is what is served."""

from pathlib import Path

from context_manager.graphql_schema import sdl

PUBLISHED = Path(__file__).resolve().parents[2] / "graphql" / "schema.graphql"


def test_the_published_sdl_is_that_of_the_code() -> None:
    assert PUBLISHED.read_text(encoding="utf-8") == sdl(), "run `make schema`"


def test_the_folder_is_no_package_so_that_graphql_core_is_found() -> None:
    assert not (PUBLISHED.parent / "__init__.py").exists()
