"""The frozen trunk, its cached features and the heads that are trained on them."""
