"""Who asks: the address that limits count by, also behind a proxy."""

import ipaddress
from collections.abc import Iterable

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class Visitors:
    """Tells visitors apart by address; ``trusted`` are proxies whose word on who asked them is taken.

    X-Forwarded-For is read from its end: each proxy adds there whom it was asked by, and what stands before the first
    address that is no trusted proxy may be made up.
    """

    def __init__(self, trusted: Iterable[Network] = ()) -> None:
        self.trusted = tuple(trusted)

    def who(self, peer: str, forwarded: Iterable[str] = ()) -> str:
        """Name the visitor: ``peer`` is the other end of the connection, ``forwarded`` the X-Forwarded-For headers.

        One IPv6 visitor has a whole /64 to choose addresses from, which therefore counts as one.
        """
        address = _address(peer)
        hops = [hop for header in forwarded for hop in header.split(",")]
        while hops and self._is_trusted(address):
            hop = _address(hops.pop())
            if hop is None:  # the proxy passes on what is no address: only itself is known
                break
            address = hop
        if isinstance(address, ipaddress.IPv6Address):
            return str(ipaddress.ip_network((int(address) >> 64 << 64, 64)))
        return str(address)

    def trusts(self, peer: str) -> bool:
        """Say whether ``peer`` is one of the proxies."""
        return self._is_trusted(_address(peer))

    def _is_trusted(self, address: Address | None) -> bool:
        return address is not None and any(address in network for network in self.trusted)


DIRECT = Visitors()  # for who is connected is who asks


def _address(text: str) -> Address | None:
    """An address, perhaps with a port as some proxies write it; None for what is none."""
    text = text.strip().strip('"')
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address
