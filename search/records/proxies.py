"""Proxies lead to the world outside, not to this machine."""

import os

_HERE = ("localhost", "127.0.0.1", "::1")


def reach_this_machine_directly() -> None:
    """Keeps what this process and its children say to this machine off any proxy that the environment names."""
    named = os.environ.get("no_proxy") or os.environ.get("NO_PROXY") or ""
    hosts = [host.strip() for host in named.split(",") if host.strip()]
    if "*" not in hosts:
        os.environ["no_proxy"] = os.environ["NO_PROXY"] = ",".join(dict.fromkeys((*hosts, *_HERE)))
