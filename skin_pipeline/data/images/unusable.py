"""The error of an image that was read, but cannot be used."""


class Unusable(ValueError):
    """An image that is quarantined; the message is the reason."""
