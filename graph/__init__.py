"""The store: Neo4j, facts and claims, revisions, authorization."""
