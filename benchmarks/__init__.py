"""Benchmarks: this package against its peers, in interleaved rounds; see docs/explanation/benchmarks.md."""
