"""Addresses of IPv4 and IPv6 in conditions, and the networks that they are in."""

from __future__ import annotations

import ipaddress
import re
from functools import cache, lru_cache

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import Message

_BITS = re.compile(r"0|[1-9][0-9]{0,2}")


@cache
def address_class() -> type[Message]:
    """CEL's view of an address: a message type, since the runtime takes no opaque values of ours.

    Its field has a reserved word for a name, which no expression can select.
    """
    file = descriptor_pb2.FileDescriptorProto(name="ipaddress.proto", syntax="proto3")
    field = descriptor_pb2.FieldDescriptorProto
    message = file.message_type.add(name="IPAddress")
    message.field.add(name="in", number=1, type=field.TYPE_STRING, label=field.LABEL_OPTIONAL)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("IPAddress"))


def address(text: str) -> Message:
    parsed = ipaddress.ip_address(text)
    # An address of IPv4 in IPv6 is in the networks of IPv4.
    mapped = parsed.ipv4_mapped if isinstance(parsed, ipaddress.IPv6Address) else None
    return address_class()(**{"in": str(mapped or parsed)})


def in_cidr(address: Message, cidr: str) -> bool:
    network, found = _network(cidr), ipaddress.ip_address(getattr(address, "in"))
    # Networks have no zones.
    return found in network and not (isinstance(found, ipaddress.IPv6Address) and found.scope_id)


@lru_cache(maxsize=4096)
def _network(cidr: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    base, slash, bits = cidr.partition("/")
    if not slash or not _BITS.fullmatch(bits) or "%" in base:
        raise ValueError(f"'{cidr}' is a malformed CIDR string")
    network = ipaddress.ip_network(cidr, strict=False)
    mapped = ipaddress.ip_address(base)
    if isinstance(mapped, ipaddress.IPv6Address) and mapped.ipv4_mapped and network.prefixlen >= 96:
        return ipaddress.ip_network((mapped.ipv4_mapped, network.prefixlen - 96), strict=False)
    return network
