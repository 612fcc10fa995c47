"""Every error that Omni raises on purpose.

    OmniError
    ├── ConfigError                 the configuration cannot be used
    │   └── UntrustedFileSystem     the log lies where SQLite cannot be relied on (omni.eventlog.file_system)
    ├── EventLogError               the log cannot be trusted or written
    │   ├── VersionConflict         another writer appended to the stream first
    │   ├── CorruptLog              content does not match its hash or schema
    │   ├── LostTail                acknowledged events are missing from the end
    │   ├── LogLocked               another daemon holds the log
    │   └── LogUnavailable          the disk refuses to take more (full, read-only, I/O error)
    ├── ReplayDivergence            memory and log tell different stories
    ├── ExecutorError               an executor could not do what was asked
    │   ├── ExecutorUnavailable     it cannot be reached or started
    │   ├── ExecutorTimeout         it was too slow or too quiet
    │   └── ExecutorFailed          it answered, and the answer is a failure
    ├── ModelError                  a model call gave no answer
    │   └── UpstreamFailed          why, and what upstream said (omni.llm.answer)
    ├── ProtocolError               a peer sent what the protocol does not allow
    ├── NotFound                    no task has that id
    ├── NotAuthorised               the token is missing or wrong
    ├── DaemonUnreachable           nobody answers on the port
    └── Refused                     a well-formed request that the rules turn down

An expected refusal inside the domain is data (`Refusal`), not an exception; these are for the edges. `hint` names the
next command to run.
"""

from __future__ import annotations


class OmniError(Exception):
    """Root of all deliberate errors; `hint` is the next thing a person should do."""

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}\n  next: {self.hint}" if self.hint else self.message


class ConfigError(OmniError):
    """The configuration cannot be used; the message names the key and, where known, the line."""


class EventLogError(OmniError):
    """The event log cannot be trusted or written."""


class VersionConflict(EventLogError):
    """The stream has moved on: the expected version is not the current one."""


class CorruptLog(EventLogError):
    """Stored content does not match its hash, its order or its schema."""


class LostTail(EventLogError):
    """The database ends before the head marker: acknowledged events are missing."""


class LogLocked(EventLogError):
    """Another daemon holds the log."""


class LogUnavailable(EventLogError):
    """The disk takes no more writes; nothing was written and nothing is lost."""


class ReplayDivergence(OmniError):
    """State rebuilt from the log differs from the state it is compared with."""


class ExecutorError(OmniError):
    """An executor could not do what was asked."""


class ExecutorUnavailable(ExecutorError):
    """The executor cannot be reached or started."""


class ExecutorTimeout(ExecutorError):
    """The executor was too slow (total) or too quiet (idle)."""


class ExecutorFailed(ExecutorError):
    """The executor answered, and its answer is a failure."""


class ModelError(OmniError):
    """A model call gave no answer."""


class ProtocolError(OmniError):
    """A peer sent what the protocol does not allow."""


class NotFound(OmniError):
    """No task has that id."""


class NotAuthorised(OmniError):
    """The token is missing or wrong."""


class DaemonUnreachable(OmniError):
    """Nobody answers on the daemon's port."""


class Refused(OmniError):
    """A well-formed request that the rules turn down."""
