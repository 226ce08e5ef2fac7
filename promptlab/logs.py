"""How logs look: one JSON object a line, with the request id that error pages show. Knows no request content and no secrets."""

import re
from typing import Any

import structlog
from structlog.typing import EventDict, WrappedLogger

_SHARED: list[Any] = [
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_log_level,
    structlog.stdlib.add_logger_name,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
]

# What opens something by itself: keys (their prefix stays, people know them by it), sign-in tokens, links and invitations, password resets.
_SECRETS = re.compile(
    r"(plk_[\w-]{8})[\w-]+|(?<=Bearer )[\w.~+/=-]+|(?:(?<=token=)|(?<=/s/)|(?<=/invitations/)|(?<=/key/)|(?<=/confirm-email/))[^/&?\s\"']+"
)


def secrets_hide(logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
    """The last step before a line is written: no text of it may open anything."""
    return {name: _SECRETS.sub(r"\1[hidden]", value) if isinstance(value, str) else value for name, value in event.items()}


def logging_config(level: str) -> dict[str, Any]:
    """Configure structlog and return Django's LOGGING dictionary."""
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *_SHARED,
            structlog.processors.format_exc_info,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {
            "json": {
                "()": structlog.stdlib.ProcessorFormatter,
                "processors": [
                    structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                    secrets_hide,
                    structlog.processors.JSONRenderer(),
                ],
                "foreign_pre_chain": _SHARED,
            }
        },
        "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "json"}},
        # Clients of other hosts: their lines name addresses and would come with every call.
        "loggers": {name: {"level": "WARNING"} for name in ("httpx2", "httpcore2", "openai")},
        "root": {"handlers": ["console"], "level": level},
    }
