"""Callers of the gRPC API: their keys, and how the broker is told of them."""

import hashlib

ROLES = ("BIND", "REVOKE", "SEND", "READ", "LISTEN", "ADMIN")


def key_of(name):
    """The API key of the tests' caller of that name."""
    return f"sbk_the-key-of-{name}-canary"


def caller(name, *roles, **settings):
    """An entry of `control.callers`."""
    key_hash = hashlib.sha256(key_of(name).encode()).hexdigest()
    return {"name": name, "key_hash": key_hash, "roles": list(roles), **settings}


def configured(*callers, **config):
    """A configuration with these callers."""
    control = {**config.pop("control", {}), "callers": list(callers)}
    return {"control": control, **config}
