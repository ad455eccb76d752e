"""Orgraph's authorization beside OpenFGA and SpiceDB: `python -m benchmarks.authorization`."""
