"""What keeps a command of a service from its work: one sentence with what helps, and the exit status."""

from __future__ import annotations

import logging
import sys
import traceback
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

from pydantic import ValidationError
from pydantic_settings import SettingsError

from countersign.runtime.database.postgres_refusal import POSTGRES_ERRORS, words_of_postgres
from countersign.runtime.messages.findings import findings
from countersign.runtime.settings import SecretsReadableError, ServiceSettings, refuse_open_secrets, secrets_file

if TYPE_CHECKING:
    from collections.abc import Iterator

S = TypeVar("S", bound=ServiceSettings)

EXIT_ARGUMENTS = 2  # as argparse says of a wrong argument
EXIT_UNAVAILABLE = 69  # EX_UNAVAILABLE of sysexits.h
EXIT_BUG = 70  # EX_SOFTWARE of sysexits.h; Python's own is 1, which here is a finding
EXIT_SETTINGS = 78  # EX_CONFIG of sysexits.h: a restart does not help
EXIT_INTERRUPTED = 130  # as a shell says of a program that Ctrl-C ended


class CommandError(Exception):
    """What keeps a command from its work, in a sentence, with the exit status."""

    def __init__(self, sentence: str, status: int) -> None:
        super().__init__(sentence)
        self.status = status


class RefusedError(CommandError):
    """A server that does not let us in: a restart does not help before the settings are mended."""


@contextmanager
def naming_postgres() -> Iterator[None]:
    """Raise CommandError, in words, for what PostgreSQL does inside."""
    try:
        yield
    except BrokenPipeError:  # whoever read what is printed
        raise
    except POSTGRES_ERRORS as error:
        sentence, todo = words_of_postgres(error)
        raise CommandError(f"{sentence}; {todo}", EXIT_UNAVAILABLE) from error


def settings_of(settings: type[S]) -> S:
    """Return the settings of this process. Raises CommandError, and quotes no value."""
    path = secrets_file()
    try:
        refuse_open_secrets()
        return settings()
    except SecretsReadableError as error:
        raise CommandError(str(error), EXIT_SETTINGS) from None
    except ValidationError as error:
        absent = path is not None and not path.is_file()
        file = f"; COUNTERSIGN_SECRETS_FILE names {path}, and there is no such file" if absent else ""
        raise CommandError(f"the settings are not right: {'; '.join(findings(error))}{file}", EXIT_SETTINGS) from None
    except SettingsError as error:  # it names the variable's field
        raise CommandError(f"the settings are not right: {error}: expected JSON", EXIT_SETTINGS) from None
    except OSError as error:
        raise CommandError(f"{path} cannot be read: {error.strerror}", EXIT_SETTINGS) from None
    except (ValueError, TypeError, RecursionError):  # not UTF-8, not JSON, no object, nested too deep
        raise CommandError(f"{path} cannot be read: expected a JSON object in UTF-8", EXIT_SETTINGS) from None


def print_failure(service: str, error: BaseException) -> int:
    """Print on standard error what ended a command, and return the exit status; only of a bug the stack trace."""
    if isinstance(error, CommandError):
        print(f"{service}: {error}", file=sys.stderr, flush=True)  # noqa: T201
        return error.status
    if isinstance(error, KeyboardInterrupt):
        logging.getLogger("asyncio").setLevel(logging.CRITICAL)  # connections that nobody awaits any more
        return EXIT_INTERRUPTED
    traceback.print_exception(error)
    return EXIT_BUG
