"""Immutable model versions and the pointer to the champion."""
