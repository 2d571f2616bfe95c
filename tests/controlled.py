"""What a controller is asked for, and how ranks refuse it."""

from livn_ipp.cluster import wire
from livn_ipp.cluster.control import events as c
from livn_ipp.errors import RankFailure

NOTHING = wire.dumps(None)


def refusal(kind: str = "ConfigError", module: str = "livn_ipp.errors") -> RankFailure:
    return RankFailure(0, "host", 1, module, kind, "refused", "...")


def request(number: int, pipeline: str = "p", **more: object) -> c.Request:
    return c.Request(number, pipeline, trial=number, inputs=NOTHING, **more)  # type: ignore[arg-type]
