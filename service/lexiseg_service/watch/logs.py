"""Structured logs on stderr: one JSON object per line, or text on a terminal. Never image content or class names."""

from __future__ import annotations

import logging
import re
import sys

import structlog

from lexiseg_service.settings import Settings

GRPC = "grpc._cython.cygrpc"  # gRPC's logger
DISCONNECT_ERROR = "ExecuteBatchError"  # what gRPC logs when a client resets its call
CHATTY = ("httpx", "onnx_ir", "onnxscript")  # loggers without level INFO
# Request ids that clients may choose: harmless in log lines and headers.
ACCEPTABLE_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")


def configure(settings: Settings, process: str | None = None) -> None:
    """Set up structlog and the standard library's loggers; `process` is on each line where several share the output."""
    level = getattr(logging, settings.log_level.upper())
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    if process is not None:
        shared.append(lambda _, __, event: {**event, "process": process})
    make_renderer = structlog.dev.ConsoleRenderer if sys.stderr.isatty() else structlog.processors.JSONRenderer
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            structlog.stdlib.add_logger_name,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.add_logger_name, *shared],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.format_exc_info,
                make_renderer(),
            ],
        )
    )
    logging.basicConfig(handlers=[handler], level=level, force=True)
    # The middleware logs each request.
    logging.getLogger("uvicorn.access").disabled = True
    logging.getLogger(GRPC).addFilter(_is_not_a_disconnect)
    # A line for each of our own HTTP calls, each constant and each rule.
    for name in CHATTY:
        logging.getLogger(name).setLevel(logging.WARNING if level == logging.INFO else logging.NOTSET)


def _is_not_a_disconnect(record: logging.LogRecord) -> bool:
    """Drop gRPC's traceback about a client that resets its call while the answer is sent."""
    error = record.exc_info[1] if record.exc_info else None
    return type(error).__name__ != DISCONNECT_ERROR
