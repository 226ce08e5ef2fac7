"""What a hosted endpoint may be: how its address is written, where it may lie on the network, and how its key looks.

Pure: knows text and network addresses. The web checks what a person types with it, a worker every address that it connects to.
"""

import ipaddress
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any
from urllib.parse import SplitResult, urlsplit

from experiments.errors import UserError
from experiments.wording import quoted

MAX_URL = 400
MAX_KEY = 500
EXAMPLE = "https://api.example.com/v1"
# Where clouds hand out credentials: refused even inside a network that the operator allows.
METADATA = frozenset(map(ipaddress.ip_address, ("169.254.169.254", "169.254.170.2", "100.100.100.200", "fd00:ec2::254")))
NAT64 = ipaddress.ip_network("64:ff9b::/96")
# All that is given out to the public of IPv6. Outside of it lie spellings of private addresses that `is_global` does not know in every
# Python: ::127.0.0.1, a translator's own prefix, what once was site-local.
PUBLIC_IPV6 = ipaddress.ip_network("2000::/3")
HOST_NAME = re.compile(r"(?=.{1,253}$)[a-z0-9_]([a-z0-9_-]{0,62})(\.[a-z0-9_]([a-z0-9_-]{0,62}))*\.?")

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class ForbiddenAddress(UserError):
    """The endpoint lies where this installation does not go."""


@dataclass(frozen=True)
class EndpointLimits:
    """How an endpoint is asked.

    Args:
        concurrency: calls under way at once.
        requests_per_minute: most calls begun in a minute; 0 sets no limit of our own.
        timeout_seconds: how long one answer may take, from the first byte sent to the last one read.
        answer_tokens: most tokens of an answer; a model that thinks before it answers needs many.
    """

    concurrency: int = 4
    requests_per_minute: int = 0
    timeout_seconds: float = 60.0
    answer_tokens: int = 32

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "EndpointLimits":
        """Limits as stored; what is missing takes its default.

        Raises:
            UserError: a limit is out of range.
        """
        limits = cls(**{name: value[name] for name in asdict(cls()) if value.get(name) is not None})
        for name, (low, high, words) in LIMIT_RANGES.items():
            if not low <= getattr(limits, name) <= high:
                raise UserError(f"{words} must lie between {low:,} and {high:,}.")
        return limits

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


LIMIT_RANGES: dict[str, tuple[int, int, str]] = {
    "concurrency": (1, 64, "Calls at once"),
    "requests_per_minute": (0, 100_000, "Calls a minute"),
    "timeout_seconds": (1, 600, "The seconds that an answer may take"),
    "answer_tokens": (1, 32_000, "The tokens of an answer"),
}


def endpoint_url(typed: str) -> str:
    """The address as it is kept: scheme, host, perhaps a port, and the path under which the API lies.

    Raises:
        UserError: it is no such address; the sentence says what is wrong with it.
    """
    text = typed.strip()
    if any(character.isspace() or not character.isprintable() for character in text) or len(text) > MAX_URL:
        raise UserError(f"The address of an endpoint is one line of at most {MAX_URL} characters without spaces, such as {EXAMPLE}.")
    if "://" not in text:
        raise UserError(f"The address {quoted(text)} has no scheme. Write it out, such as {EXAMPLE}.")
    parts = _split(text)
    if parts.username or parts.password or "@" in parts.netloc:
        raise UserError("The address must not hold a user name or a password. Give the key in its own field.")
    if parts.query or parts.fragment:
        raise UserError("The address must end with its path: leave out everything from “?” or “#” on.")
    path = parts.path.rstrip("/").removesuffix("/chat/completions").removesuffix("/completions")
    return f"{parts.scheme}://{parts.netloc.lower()}{path}"


def endpoint_host(url: str) -> str:
    """The host of a kept address as people name it, with its port where one is given."""
    return urlsplit(url).netloc


def address_check(address: str, *, private: Sequence[Network], is_encrypted: bool) -> str:
    """Whether a network address may be connected to. Returns it in its plain spelling.

    Args:
        address: what the host's name stands for at this moment.
        private: networks that are not public and that the operator has allowed.
        is_encrypted: plain http carries keys and rows in the clear, so it stays inside those networks.
    Raises:
        ForbiddenAddress: it may not.
    """
    found = _embedded(ipaddress.ip_address(address.split("%", 1)[0]))
    is_allowed = any(found in network for network in private if network.version == found.version)
    if found in METADATA or (not is_allowed and not _is_public(found)):
        raise ForbiddenAddress(
            "The endpoint's address leads into a private network, where this installation does not go. Its operator can allow a "
            "network with ENDPOINT_PRIVATE_NETWORKS."
        )
    if not is_encrypted and not is_allowed:
        raise ForbiddenAddress("The endpoint would get the key and the rows without encryption. Give an address that begins with https://.")
    return str(found)


def _is_public(address: Address) -> bool:
    if address.version == 6 and address not in PUBLIC_IPV6:
        return False
    return address.is_global and not address.is_multicast


def literal_check(url: str, *, private: Sequence[Network]) -> None:
    """Refuse an address at once that names a forbidden network itself; names are looked up by the worker that connects.

    Raises:
        ForbiddenAddress: as `address_check` says.
    """
    parts = urlsplit(url)
    try:
        ipaddress.ip_address((parts.hostname or "").split("%", 1)[0])
    except ValueError:
        return
    address_check(parts.hostname or "", private=private, is_encrypted=parts.scheme == "https")


def key_check(key: str) -> str:
    """The key, if it can stand in a header. It is never repeated in a sentence.

    Raises:
        UserError: it holds a line break or another character that no key has.
    """
    if "\n" in key or "\r" in key:
        raise UserError("The key holds a line break. Copy it again, in one line and without what stands around it.")
    if not all("!" <= character <= "~" for character in key):
        raise UserError("The key holds a space or another character that no key has. Copy it again, without what stands around it.")
    if len(key) > MAX_KEY:
        raise UserError(f"The key has more than {MAX_KEY} characters. Copy the key alone.")
    return key


def model_name_check(name: str) -> str:
    """The model's name as the endpoint knows it.

    Raises:
        UserError: it is empty or no line of text.
    """
    cleaned = name.strip()
    if not cleaned or len(cleaned) > 200 or not cleaned.isprintable():
        raise UserError("Name the model as the endpoint calls it, in one line, such as “gpt-4.1-mini” or “Qwen/Qwen2.5-7B-Instruct”.")
    return cleaned


def networks_of(written: Sequence[str]) -> tuple[Network, ...]:
    """Networks as an operator writes them, such as 127.0.0.0/8 or 10.1.2.3.

    Raises:
        ValueError: one of them is none.
    """
    return tuple(ipaddress.ip_network(network.strip(), strict=False) for network in written)


def _split(text: str) -> SplitResult:
    try:
        parts = urlsplit(text)
        has_port = parts.port is None or parts.port > 0
    except ValueError:
        raise UserError(f"{quoted(text)} is no address. Write it like {EXAMPLE}.") from None
    if parts.scheme not in ("http", "https"):
        raise UserError(f"The address {quoted(text)} begins with {quoted(parts.scheme + '://')}. An endpoint's begins with https://.")
    if not parts.hostname or not has_port or _is_odd_number(parts.hostname):
        raise UserError(f"The address {quoted(text)} names no host. Write it like {EXAMPLE}.")
    if not parts.hostname.isascii():
        # The same name in two spellings of the world's letters can be two hosts, and the key must go to the one that is read here.
        raise UserError(
            f"The host of the address {quoted(text)} holds other letters than a to z. Write it in the form that begins with xn--."
        )
    if not _is_host(parts.hostname, is_bracketed="[" in parts.netloc):
        raise UserError(f"{quoted(parts.hostname)} cannot be the name of a host. Write the address like {EXAMPLE}.")
    return parts


def _is_host(host: str, *, is_bracketed: bool) -> bool:
    if not is_bracketed:
        return bool(HOST_NAME.fullmatch(host))
    try:
        return bool(ipaddress.ip_address(host.split("%", 1)[0]))
    except ValueError:
        return False


def _is_odd_number(host: str) -> bool:
    """Whether a host is made of numbers that are no address in its usual spelling; what they mean differs from program to program."""
    if not re.fullmatch(r"[0-9.]+|0x[0-9a-fx.]+", host):
        return False
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return True
    return False


def _embedded(address: Address) -> Address:
    """The IPv4 address that an IPv6 address stands for, where it does: the machine reached is that one."""
    if isinstance(address, ipaddress.IPv4Address):
        return address
    if address in NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour or (address.teredo[1] if address.teredo else address)
