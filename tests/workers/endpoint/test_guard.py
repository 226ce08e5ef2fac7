"""Where connections may go, decided at the moment of the connection."""

import socket

import pytest

from experiments.endpoints import networks_of
from tests.workers.endpoint.server import Answer
from tests.workers.endpoint.test_client import LOOPBACK, ask, fault_of


@pytest.fixture
def name_means(monkeypatch):
    """Lets the name api.example.com stand for other addresses at each look-up."""

    def means(*answers: list[str]) -> None:
        left = list(answers)
        real = socket.getaddrinfo

        def look_up(host, port, *args, **kwargs):
            if host != "api.example.com":
                return real(host, port, *args, **kwargs)
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in (left.pop(0) if len(left) > 1 else left[0])]

        monkeypatch.setattr(socket, "getaddrinfo", look_up)

    return means


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "2130706433", "0x7f.1", "[::ffff:127.0.0.1]", "0.0.0.0"])  # noqa: S104
def test_loopback_in_any_spelling_is_refused_unless_allowed(server, host):
    fault = fault_of(f"http://{host}:{server.port}/v1", private=())

    assert "ENDPOINT_PRIVATE_NETWORKS" in fault.sentence
    assert server.asked == []


def test_name_that_points_inside_is_refused(server, name_means):
    name_means(["127.0.0.1"])

    assert "private network" in fault_of(f"http://api.example.com:{server.port}/v1", private=()).sentence
    assert server.asked == []


def test_one_private_address_among_public_ones_is_enough_to_refuse(server, name_means):
    name_means(["93.184.215.14", "127.0.0.1"])

    assert "private network" in fault_of(f"https://api.example.com:{server.port}/v1", private=()).sentence


def test_name_is_looked_up_once_for_check_and_connection(server, name_means):
    """A name that means an allowed address when it is checked and another one right after reaches the one that was checked."""
    name_means(["127.0.0.1"], ["169.254.169.254"])

    assert ask(f"http://api.example.com:{server.port}/v1").text == "refund"


def test_name_that_moves_inside_between_two_calls_is_refused(server, name_means):
    name_means(["127.0.0.1"], ["10.0.0.1"])
    server.always(Answer(headers={"Connection": "close"}))
    ask(f"http://api.example.com:{server.port}/v1")

    assert "private network" in fault_of(f"http://api.example.com:{server.port}/v1").sentence


def test_metadata_address_is_refused_even_in_an_allowed_network(name_means):
    name_means(["169.254.169.254"])

    assert "private network" in fault_of("http://api.example.com/v1", private=networks_of(["169.254.0.0/16"])).sentence


def test_public_address_without_encryption_is_refused(name_means):
    name_means(["93.184.215.14"])

    assert "https://" in fault_of("http://api.example.com/v1", private=LOOPBACK).sentence


def test_redirect_to_another_host_gets_no_request(server):
    from tests.workers.endpoint.server import serving

    with serving() as other:
        server.always(Answer(b"", 308, {"Location": f"{other.url}/chat/completions"}))
        fault_of(server.url)

        assert other.asked == []


def test_proxy_of_the_environment_is_not_used(server, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")

    assert ask(server.url).text == "refund"
