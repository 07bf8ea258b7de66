"""Cron expressions: five fields, or six with seconds first, in a time zone.

Source: crontab(5) of Debian, whose rules for the change of the clocks cronsim follows
(docs/rulings.md#cron-expressions).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cronsim import CronSim, CronSimError

from shared.kit.errors import InvalidRequest

MAX_EXPRESSION = 200
MAX_ZONE = 64
_HELP = "write five fields (minute hour day month weekday) or six with seconds first, for example */15 * * * *"


@dataclass(frozen=True, slots=True)
class Cron:
    """A valid expression and its zone. Moments are epoch milliseconds, whole seconds."""

    expression: str
    zone: tzinfo

    @classmethod
    def parse(cls, expression: str, zone: str) -> Cron:
        """Raises InvalidRequest for what is no expression or no zone."""
        if len(expression) > MAX_EXPRESSION:
            raise InvalidRequest.field("schedule", f"schedule must have {MAX_EXPRESSION} characters at most")
        # A question mark is how Quartz writes "any".
        plain = " ".join("*" if field == "?" else field for field in expression.split())
        found = cls(plain, _zone(zone))
        try:
            CronSim(plain, datetime.fromtimestamp(0, UTC))
        except CronSimError as error:
            raise InvalidRequest.field("schedule", f"schedule is no cron expression ({error}); {_HELP}") from None
        return found

    def after(self, moment_ms: int) -> int | None:
        """The first scheduled moment after this one; None when there is none within 50 years."""
        start = datetime.fromtimestamp(moment_ms // 1000, self.zone)
        # In the hour that a clock put back repeats, the search may begin with moments of the first pass.
        return next((ms for found in CronSim(self.expression, start) if (ms := _ms(found)) > moment_ms), None)

    def latest(self, moment_ms: int) -> int | None:
        """The last scheduled moment up to and including this one; None when there was none within 50 years."""
        # With a fraction of a second the search begins with this second and not with the one before it.
        start = datetime.fromtimestamp(moment_ms // 1000, self.zone).replace(microsecond=1)
        return next(
            (ms for found in CronSim(self.expression, start, reverse=True) if (ms := _ms(found)) <= moment_ms), None
        )


def _ms(moment: datetime) -> int:
    return int(moment.timestamp()) * 1000


def _zone(name: str) -> tzinfo:
    if name == "UTC":
        return UTC
    try:
        if len(name) > MAX_ZONE:
            raise ValueError(name)
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise InvalidRequest.field(
            "timezone", f"there is no time zone {name[:MAX_ZONE]}; write a name such as Europe/Berlin"
        ) from None
