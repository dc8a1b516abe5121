"""On PYTHONPATH, Python runs this file before anything else: from then on it reaches this machine alone.

An audit hook sees every connection and every look-up of a name that Python's sockets make, and cannot be taken off again.
"""

import ipaddress
import sys

# Where, among the arguments of an event, the host or the address stands.
WATCHED = {"socket.connect": 1, "socket.sendto": 1, "socket.sendmsg": 1, "socket.getaddrinfo": 0}
WATCHED |= {"socket.gethostbyname": 0, "socket.gethostbyaddr": 0}


def is_loopback(host: object) -> bool:
    if isinstance(host, bytes):
        host = host.decode()
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host in (None, "", "localhost")


def refuse(event: str, arguments: tuple) -> None:
    if event not in WATCHED:
        return
    host = arguments[WATCHED[event]]
    if event in ("socket.connect", "socket.sendto", "socket.sendmsg"):
        if not isinstance(host, tuple):  # a socket of the file system, or one that is connected already
            return
        host = host[0]
    if not is_loopback(host):
        raise PermissionError(f"no network in tests: {event} to {host!r}")


sys.addaudithook(refuse)
