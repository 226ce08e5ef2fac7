"""A variable that cannot be read is named in one sentence, which repeats no password."""

import os
import subprocess
import sys

import pytest

from promptlab.environment import BadSetting, Environment


def environment(**variables: str) -> Environment:
    made = Environment()
    made.ENVIRON = variables
    return made


def test_readable_variables_are_read():
    env = environment(PORT="8125", HTTPS="Yes", SHARE_LINKS="off", LOG_LEVEL="debug", REDIS_URL="rediss://host/1", LEASE="2.5")

    assert (env.int("PORT"), env.float("LEASE"), env.bool("HTTPS"), env.bool("SHARE_LINKS")) == (8125, 2.5, True, False)
    assert (env.level("LOG_LEVEL", "INFO"), env.broker("REDIS_URL"), env.broker("MISSING")) == ("DEBUG", "rediss://host/1", "")
    assert (env.int("MISSING", default=3), env.bool("MISSING", default=True), env.level("MISSING", "INFO")) == (3, True, "INFO")


@pytest.mark.parametrize(
    ("variables", "read", "sentence"),
    [
        ({"PORT": "80a"}, lambda env: env.int("PORT"), "PORT must be a whole number, and is “80a”."),
        ({"LEASE": "soon"}, lambda env: env.float("LEASE"), "LEASE must be a number, and is “soon”."),
        ({"HTTPS": "perhaps"}, lambda env: env.bool("HTTPS"), "HTTPS must be true or false, and is “perhaps”."),
        ({"LOG_LEVEL": "loud"}, lambda env: env.level("LOG_LEVEL", "INFO"), "LOG_LEVEL must be one of DEBUG, INFO"),
        ({"REDIS_URL": "localhost:6379"}, lambda env: env.broker("REDIS_URL"), "REDIS_URL must be of the form redis://host:6379/0"),
    ],
)
def test_an_unreadable_variable_is_named_with_what_was_expected(variables, read, sentence):
    with pytest.raises(BadSetting) as raised:
        read(environment(**variables))

    assert sentence in str(raised.value)
    assert "Correct it in the environment or in .env." in str(raised.value)


@pytest.mark.parametrize(
    "address",
    ["postgres//user:hidden@host/name", "mongodb://user:hidden@host/name", "postgres://user:hidden@host:54x2/name", "postgres://"],
)
def test_an_unreadable_database_address_is_refused_without_its_password(address):
    with pytest.raises(BadSetting, match="DATABASE_URL must be of the form") as raised:
        environment(DATABASE_URL=address).database("DATABASE_URL", default="sqlite:///file")

    assert "hidden" not in str(raised.value)


def test_a_command_ends_with_the_sentence_alone():
    ended = subprocess.run(
        [sys.executable, "manage.py", "check"], env=os.environ | {"PORT": "eighty"}, capture_output=True, text=True, check=False
    )

    assert ended.returncode == 1
    assert ended.stderr.strip() == "PORT must be a whole number, and is “eighty”. Correct it in the environment or in .env."
