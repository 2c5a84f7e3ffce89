"""Synthetic experiment files, real storage servers on loopback, and the story that uses both."""
