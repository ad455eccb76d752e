"""RDF in and out: claims read from Turtle, N-Triples and JSON-LD; the visible part written as them."""
