"""The one exception that carries a sentence for a person from a service to a page, an API answer or a failed job."""


class UserError(Exception):
    """What the person asked for cannot be done. `str(error)` names the fault, the expectation and the remedy."""
