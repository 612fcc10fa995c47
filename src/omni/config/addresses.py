"""What can be said of an address without asking anybody: whether it is this machine's, and whether we may call it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ipaddress import IPv4Address, IPv6Address

_METADATA_HOSTS = frozenset({"metadata", "metadata.google.internal", "instance-data", "instance-data.ec2.internal"})
_METADATA_ADDRESSES = frozenset(("100.100.100.200", "fd00:ec2::254", "192.0.0.192", "168.63.129.16"))


def is_loopback(host: str) -> bool:
    """Whether a bind address is reachable from this machine only; of names, localhost alone is trusted."""
    if host.lower() == "localhost":
        return True
    address = _address(host)
    return address is not None and address.is_loopback


def is_local(host: str) -> bool:
    """Whether an address lies on this machine or in a private network, where servers want no key as a rule."""
    address = _address(host)
    return is_loopback(host) or (address is not None and address.is_private and not address.is_unspecified)


def url_problem(url: str, schemes: tuple[str, ...] = ("http", "https")) -> str:
    """Say why an outbound URL is refused; empty when it is fine. Names are not resolved here."""
    from urllib.parse import urlsplit

    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        return f"{url!r} is not a URL: {error}"
    if parts.scheme not in schemes or not host:
        return f"{url!r} is not a URL of the form {' or '.join(f'{each}://host' for each in schemes)}"
    if any(each.isspace() for each in url):
        return f"{url!r} holds a blank"
    return _host_problem(host)


def _host_problem(host: str) -> str:
    if host.lower().rstrip(".") in _METADATA_HOSTS:
        return f"{host} is a cloud metadata address, which Omni never calls"
    address = _address(host)
    if address is None:
        return ""
    address = _reached(address)
    if address.is_link_local or str(address) in _METADATA_ADDRESSES:
        return f"{host} is a link-local or metadata address, which Omni never calls"
    return f"{host} is a multicast address" if address.is_multicast else ""


def _address(host: str) -> IPv4Address | IPv6Address | None:
    import ipaddress
    import unicodedata

    host = unicodedata.normalize("NFKC", host).replace("\u3002", ".")  # as names are read before they are looked up
    try:
        address = ipaddress.ip_address(host.strip("[]").partition("%")[0])
    except ValueError:
        return _legacy_address(host.rstrip("."))
    mapped = getattr(address, "ipv4_mapped", None)
    return mapped or address


def _reached(address: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    """Where packets may end up: the IPv4 address within an IPv6 one, by NAT64, by 6to4, or compatible."""
    import ipaddress

    if isinstance(address, ipaddress.IPv4Address):
        return address
    if address in ipaddress.ip_network("64:ff9b::/96") or 1 < int(address) < 1 << 32:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address.sixtofour or address


def _legacy_address(host: str) -> IPv4Address | None:
    import ipaddress
    import socket

    # 2852039166, 0xa9fea9fe and 169.254.43518 all reach 169.254.169.254.
    try:
        return ipaddress.IPv4Address(socket.inet_aton(host)) if host[:1].isdigit() else None
    except OSError:
        return None
