"""Processes that read what others made, held so that a flaw in a decoder harms nothing."""
