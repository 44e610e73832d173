"""Docs: every snippet compiles, pages that tell how are followed, and the reference is that of the code."""
