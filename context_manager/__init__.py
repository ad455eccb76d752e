"""The service: settings, composition, HTTP, GraphQL, CLI, context, audit."""
