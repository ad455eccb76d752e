"""OpenFGA's questions over tuples in memory: one evaluator for the ontology's graph and for stores."""
