"""Stateful objects of MISO for functions: replicated counters, sets, registers, flags and maps like plain data."""

from .aio import AsyncMisoObject
from .calls import Change, Gap
from .codec import decode, encode
from .errors import (
    AccessError,
    ArgumentError,
    FunctionMismatch,
    MisoError,
    NotSent,
    OnceError,
    ReplyError,
    SettingError,
    Undecodable,
    Unencodable,
    UnknownOutcome,
    Unreachable,
    WrongType,
)
from .objects import MisoObject
from .rules import Timing
from .settings import default_id, settings

StatefulObject = MisoObject

__all__ = [
    "AccessError", "ArgumentError", "AsyncMisoObject", "Change", "FunctionMismatch", "Gap", "MisoError", "MisoObject",
    "NotSent", "OnceError", "ReplyError", "SettingError", "StatefulObject", "Timing", "Undecodable", "Unencodable",
    "UnknownOutcome", "Unreachable", "WrongType", "decode", "default_id", "encode", "settings",
]  # fmt: skip
