import contextlib
import re
import stat
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from django.test import Client

from experiments.management.commands import start
from experiments.models import User


def run(capsys, *arguments: str) -> str:
    call_command(*arguments)
    return str(capsys.readouterr().out)


@pytest.fixture(autouse=True)
def _own_home(settings, tmp_path):
    settings.HOME = tmp_path


def test_create_owner_keeps_the_password_in_a_private_file_and_off_the_screen(db, capsys):
    said = run(capsys, "create_owner", "--email", "owner@example.com", "--workspace", "Home")

    file = Path(re.findall(r"Password of owner@example.com: (\S+)", said)[0])
    password = file.read_text().split()[1]
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert password not in said
    assert User.objects.get().check_password(password)


def test_create_owner_run_again_keeps_the_password(db, capsys):
    run(capsys, "create_owner", "--email", "owner@example.com", "--workspace", "Home")
    before = User.objects.get().password

    again = run(capsys, "create_owner", "--email", "OWNER@example.com", "--workspace", "Home")

    assert "Password" not in again
    assert User.objects.get().password == before


def test_create_owner_refuses_a_malformed_email(db):
    with pytest.raises(CommandError, match="valid email"):
        call_command("create_owner", "--email", "nobody", "--workspace", "Home")


def test_printed_sign_in_link_signs_in(alice, workspace, capsys):
    path = run(capsys, "sign_in_link", "Alice@Example.com").strip()
    browser = Client()

    assert browser.get(path).status_code == 200
    assert browser.post("/sign-in/", {"token": path.partition("token=")[2]}).status_code == 302


def test_sign_in_link_for_nobody_says_what_to_do(db):
    with pytest.raises(CommandError, match="create_owner"):
        call_command("sign_in_link", "nobody@example.com")


def test_start_takes_the_port_of_the_settings_unless_told(settings):
    settings.PORT = 9_123
    parser = start.Command().create_parser("manage.py", "start")

    assert parser.parse_args([]).port == 9_123
    assert parser.parse_args(["--port", "9000"]).port == 9_000


def test_ctrl_c_is_answered_before_the_processes_have_ended(monkeypatch, capsys):
    said_at_the_end = []

    @contextlib.contextmanager
    def stack(programs, logs):
        try:
            yield
        finally:
            said_at_the_end.append(capsys.readouterr().out.splitlines()[-1])

    def interrupted(*_):
        raise start.Stopped

    for name, stand_in in {"call_command": lambda *_, **__: None, "Stack": stack, "_wait_ready": interrupted}.items():
        monkeypatch.setattr(start, name, stand_in)
    monkeypatch.setattr(start.Command, "_owner", lambda self: (None, None))

    with pytest.raises(start.Stopped):
        start.Command()._serve(8000, demonstrate=True)

    assert said_at_the_end == ["Stopping …"]


def test_the_makefile_leaves_the_port_to_the_settings():
    assert "--port" not in (Path(__file__).parents[2] / "Makefile").read_text()
