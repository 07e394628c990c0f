"""Short texts that stand for callers in the log, and do not tell who they are."""

import hashlib
import os
import secrets
from functools import cache

from a2a_grpc.config import PREFIX
from a2a_grpc.principal import Principal

VARIABLE = f"{PREFIX}LOG_KEY"
"""The variable with the secret that pseudonyms are made with."""
DIGEST_BYTES = 6


@cache
def log_key() -> str:
    """Return the secret that this process makes pseudonyms with: that of the variable, otherwise a random one."""
    return os.environ.get(VARIABLE) or secrets.token_hex(32)


def pseudonym(principal: Principal) -> str:
    """Return 12 hexadecimal digits that stand for the tenant and the owner; "" for an anonymous caller.

    The same caller has the same digits wherever the key is the same. Without the key nobody can find out which digits
    a known caller has.
    """
    if principal.is_anonymous:
        return ""
    key = hashlib.sha256(log_key().encode()).digest()
    return hashlib.blake2b(principal.key.encode(), key=key, digest_size=DIGEST_BYTES).hexdigest()
