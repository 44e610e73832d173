"""Guides: each page that tells how is followed to its end, with real workers, beats, web servers."""
