"""Whether an address is this machine's: only there may a connection go in the clear."""

from __future__ import annotations

import ipaddress


def is_here(host: str) -> bool:
    """True for loopback addresses, `localhost`, and the folder of a socket."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.startswith("/")
