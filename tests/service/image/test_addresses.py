from ipaddress import ip_address

import pytest

from lexiseg_service.image.url_fetch import is_public


@pytest.mark.parametrize(
    "address",
    [
        "8.8.8.8", "1.1.1.1", "2001:4860:4860::8888", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808",
        "2002:808:808::1",
    ],
)  # fmt: skip
def test_an_address_of_the_internet_is_public(address: str) -> None:
    assert is_public(ip_address(address))


@pytest.mark.parametrize(
    "address",
    [
        pytest.param("127.0.0.1", id="loopback"), pytest.param("10.0.0.5", id="private 10"),
        pytest.param("172.16.0.1", id="private 172"), pytest.param("192.168.1.10", id="private 192"),
        pytest.param("169.254.169.254", id="link-local: a cloud's metadata"),
        pytest.param("100.64.0.1", id="carrier-grade NAT"), pytest.param("0.0.0.0", id="unspecified"),
        pytest.param("255.255.255.255", id="broadcast"), pytest.param("224.0.0.1", id="multicast"),
        pytest.param("240.0.0.1", id="reserved"), pytest.param("198.18.0.1", id="benchmarks"),
        pytest.param("203.0.113.1", id="documentation"), pytest.param("192.88.99.1", id="6to4 relay"),
        pytest.param("192.0.0.8", id="protocol assignments"), pytest.param("192.0.0.9", id="port control protocol"),
        pytest.param("::", id="unspecified 6"), pytest.param("::1", id="loopback 6"),
        pytest.param("fc00::1", id="unique local"), pytest.param("fe80::1", id="link-local 6"),
        pytest.param("2606:4700::1111%eth0", id="with an interface"), pytest.param("fec0::1", id="site-local"),
        pytest.param("ff0e::1", id="multicast 6"), pytest.param("2001:db8::1", id="documentation 6"),
        pytest.param("3fff::1", id="documentation 6, newer"), pytest.param("2001:0:808:808::1", id="Teredo"),
        pytest.param("5f00::1", id="segment routing"), pytest.param("::ffff:127.0.0.1", id="mapped loopback"),
        pytest.param("::ffff:169.254.169.254", id="mapped metadata"),
        pytest.param("::127.0.0.1", id="compatible loopback"), pytest.param("64:ff9b::7f00:1", id="NAT64 loopback"),
        pytest.param("64:ff9b::a9fe:a9fe", id="NAT64 metadata"), pytest.param("64:ff9b:1::1", id="local NAT64"),
        pytest.param("2002:7f00:1::", id="6to4 loopback"), pytest.param("2002:a00:5::1", id="6to4 private"),
    ],
)  # fmt: skip
def test_every_other_address_is_not(address: str) -> None:
    assert not is_public(ip_address(address))
