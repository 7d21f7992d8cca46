"""The guard sees the address really connected to, in whatever form it is written."""

import socket

import pytest
from hypothesis import given, strategies as st

from db.settings import Settings
from worker.egress import DENIED, EgressRefused, allow_list, guard, is_allowed

NOBODY = frozenset()
HOSTILE = [
    "127.0.0.1", "127.255.255.254", "0.0.0.0", "10.0.0.1", "172.16.0.1", "172.31.255.255",
    "192.168.0.1", "169.254.169.254", "100.64.0.1", "100.100.100.200", "168.63.129.16",
    "192.0.0.8", "192.0.0.1", "192.0.2.1", "198.18.0.1", "198.51.100.1", "203.0.113.1",
    "224.0.0.1", "239.255.255.255", "240.0.0.1", "255.255.255.255",
    "::", "::1", "::7f00:1", "::a9fe:a9fe", "::ffff:127.0.0.1", "::ffff:0:127.0.0.1",
    "::ffff:10.0.0.1", "::ffff:169.254.169.254", "::ffff:100.64.0.1", "64:ff9b::7f00:1",
    "64:ff9b::a9fe:a9fe", "64:ff9b::10.0.0.1", "64:ff9b:1::7f00:1", "2002:7f00:1::",
    "2002:a9fe:a9fe::1", "2002:c0a8:1::", "2001:0:7f00:1::1", "2001:db8::1", "2001:2::1",
    "100::1", "fc00::1", "fd00::1", "fd00:ec2::254", "fe80::1", "fe80::1%eth0", "fec0::1",
    "ff02::1", "ff0e::1", "ff05::2", "4000::1", "0:0:0:0:0:ffff:7f00:1", "::ffff:7f00:1%lo",
]  # fmt: skip
PUBLIC = [
    "8.8.8.8", "1.1.1.1", "172.32.0.1", "100.128.0.1", "169.253.0.1", "2606:4700::1111",
    "2a00:1450::1", "::ffff:8.8.8.8", "64:ff9b::808:808", "2002:808:808::",
]  # fmt: skip


@pytest.mark.parametrize("address", HOSTILE)
def test_an_inner_address_is_refused(address):
    assert not is_allowed(address, 443, NOBODY)


@pytest.mark.parametrize("address", PUBLIC)
def test_a_public_address_is_allowed(address):
    assert is_allowed(address, 443, NOBODY)


def test_what_an_administrator_named_is_allowed_at_that_port_only():
    allowed = frozenset({("127.0.0.1", 1234)})
    assert is_allowed("127.0.0.1", 1234, allowed)
    assert is_allowed("::ffff:127.0.0.1", 1234, allowed)
    assert not is_allowed("127.0.0.1", 1235, allowed)
    assert not is_allowed("127.0.0.2", 1234, allowed)


@given(st.ip_addresses(v=4))
def test_wrapping_an_address_never_makes_it_allowed(address):
    inside = is_allowed(str(address), 1, NOBODY)
    number = int(address)
    high, low = number >> 16, number & 0xFFFF
    for wrapped in (
        f"::ffff:{address}", f"64:ff9b::{address}", f"2002:{high:x}:{low:x}::",
        f"::{address}", f"64:ff9b:1::{address}",
    ):  # fmt: skip
        assert not is_allowed(wrapped, 1, NOBODY) or inside


def test_the_allow_list_is_the_simulator_and_what_settings_name():
    settings = Settings(sim_url="http://localhost:8599", egress_allow=("10.0.0.9:80", "[::1]:9"))
    assert allow_list(settings) == {
        ("127.0.0.1", 8599),
        ("::1", 8599),
        ("10.0.0.9", 80),
        ("::1", 9),
    }


def test_the_guard_raises_before_a_socket_exists():
    refused = (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("10.0.0.1", 80))
    with pytest.raises(EgressRefused) as caught:
        guard(NOBODY)(refused)
    assert DENIED in caught.value.strerror
    with guard(frozenset({("10.0.0.1", 80)}))(refused) as opened:
        assert opened.family == socket.AF_INET
