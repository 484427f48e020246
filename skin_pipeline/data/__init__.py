"""From where the images lie to a table, packed shards and leak-free splits."""
