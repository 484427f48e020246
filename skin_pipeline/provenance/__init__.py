"""Proofs of what each result is made of, and the keys that sign them."""
