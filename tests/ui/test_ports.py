"""Port of the app: the first free one, or a sentence about the one that is not to be had."""

import socket
from contextlib import closing

import pytest

from promptweight.errors import SettingError
from promptweight_ui import app as module

HOST = "127.0.0.1"


@pytest.fixture
def taken():
    with closing(socket.socket()) as listener:
        listener.bind((HOST, 0))
        listener.listen()
        yield listener.getsockname()[1]


def test_first_free_port_is_taken(taken, monkeypatch):
    monkeypatch.setattr(module, "PORTS", range(taken, taken + 100))
    chosen = module._choose_port(HOST, None)
    assert taken < chosen < taken + 100


def test_given_free_port_is_taken(taken):
    with closing(socket.socket()) as other:
        other.bind((HOST, 0))
        free = other.getsockname()[1]
    assert module._choose_port(HOST, free) == free
    assert module._choose_port(HOST, 0) > 0


def test_taken_port_is_named(taken, monkeypatch):
    with pytest.raises(SettingError, match=f"the port {taken} is taken"):
        module._choose_port(HOST, taken)
    monkeypatch.setattr(module, "PORTS", range(taken, taken + 1))
    with pytest.raises(SettingError, match=f"the ports {taken} to {taken} are taken"):
        module._choose_port(HOST, None)


@pytest.mark.parametrize("host", ["192.0.2.1", "no.such.host.invalid"])
def test_foreign_host_is_named(host):
    with pytest.raises(SettingError, match=f"host must be an address of this machine; got '{host}'"):
        module._choose_port(host, None)
