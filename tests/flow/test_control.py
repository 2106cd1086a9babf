"""What joins a supervisor to its fork servers."""

import socket

from flow.control import hear_blocking, say_blocking


def test_one_who_is_gone_is_heard_no_more_whatever_it_left_unread():
    here, there = socket.socketpair()
    say_blocking(here, say="ready")
    there.close()
    assert hear_blocking(here) == (None, [])
    here.close()


def test_what_was_said_before_is_heard_first():
    here, there = socket.socketpair()
    say_blocking(there, do="stop")
    there.close()
    assert hear_blocking(here) == ({"do": "stop"}, [])
    assert hear_blocking(here) == (None, [])
    here.close()
