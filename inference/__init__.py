"""Nodes, placement, engines and embeddings."""
