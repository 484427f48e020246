"""From test-set figures to a verdict that can be read."""
