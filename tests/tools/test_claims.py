"""The claims that are quick enough to be held on every change."""

from __future__ import annotations

import pytest

from tools.claims import laser_t1


def test_laser_t1_holds(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["laser_t1", "--quick"])
    assert laser_t1.main() == 0
    assert "FAILS" not in capsys.readouterr().out


def test_a_claim_that_fails_is_an_exit_status(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["laser_t1", "--quick"])
    monkeypatch.setitem(laser_t1.BANDIT, 0.0, 0.9)
    assert laser_t1.main() == 1
    assert "FAILS   Prop. 2, 3" in capsys.readouterr().out


def test_an_unknown_argument_is_refused(monkeypatch):
    monkeypatch.setattr("sys.argv", ["laser_t1", "--fast"])
    with pytest.raises(SystemExit):
        laser_t1.main()
