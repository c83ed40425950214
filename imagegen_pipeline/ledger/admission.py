"""Admission of a request: checked in the transaction that records its submit.

So limits and budgets hold across all processes on the ledger.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from sqlalchemy import Connection, Select, and_, case, func, or_, select
from sqlalchemy.sql.elements import ColumnElement

from imagegen_pipeline.domain.errors import BudgetReachedError, DayLimitError, UnknownPriceError
from imagegen_pipeline.domain.limits import Budget, Limits
from imagegen_pipeline.domain.requests import State
from imagegen_pipeline.ledger.leases import Lease
from imagegen_pipeline.ledger.schema import attempts

_MINUTE, _DAY = 60.0, 86_400.0
_LOOK_SECONDS = 0.5
_ROUNDING = 1e-9
"""Of a currency's unit: sums of binary fractions are not exact."""


@dataclass(frozen=True, slots=True)
class AdmissionRules:
    """Conditions of a submit. ``reserve`` is the money to set aside, None when no price is known.

    ``answer_seconds``: how long a request without an answer counts as in flight; ``job_seconds``:
    how long an uncollected job does.
    """

    lease: Lease
    limits: Limits = field(default_factory=Limits)
    budget: Budget = field(default_factory=Budget)
    reserve: float | None = None
    answer_seconds: float = 130.0
    job_seconds: float = 1800.0


class SubmitCandidate(Protocol):
    """The attempt to submit, or its plan."""

    @property
    def provider(self) -> str:
        """The provider of the request."""

    @property
    def model(self) -> str:
        """The model of the request."""

    @property
    def intent(self) -> str:
        """The intent: a run's budget is counted by it."""


@dataclass(frozen=True, slots=True)
class Deferred:
    """A limit that time will clear: the reason, and the seconds until the next try."""

    seconds: float
    reason: str


def admit(
    connection: Connection, now: float, asking: SubmitCandidate, terms: AdmissionRules
) -> Deferred | None:
    """None if ``asking`` may be sent; raises SpendingError when waiting does not help.

    ``now`` is the database's clock, in seconds since the epoch.
    """
    return (
        _within_budget(connection, now, asking, terms)
        or _within_rates(connection, now, asking, terms.limits)
        or _within_flight(connection, now, asking, terms)
    )


def _in_flight(now: float, terms: AdmissionRules) -> ColumnElement[bool]:
    """Sent and not finished; after a while, requests of dead processes no longer count."""
    asked = and_(
        attempts.c.state == State.SUBMITTING,
        attempts.c.submitted_at > now - terms.answer_seconds,
    )
    running = and_(
        attempts.c.state == State.SUBMITTED,
        attempts.c.submitted_at > now - terms.job_seconds,
    )
    return or_(asked, running)


def _of_today(now: float) -> ColumnElement[bool]:
    """Sent since midnight (UTC), to any provider. The index begins with the provider's name:
    without the names the whole ledger would be read for every image.
    """
    by_any = attempts.c.provider.in_(_provider_names())
    return and_(by_any, attempts.c.submitted_at >= now - now % _DAY)


def _provider_names() -> Select[tuple[str]]:
    """The providers in the ledger, one index lookup for each."""
    names = select(func.min(attempts.c.provider).label("name")).cte("names", recursive=True)
    others = attempts.alias("others")
    following = select(func.min(others.c.provider)).where(others.c.provider > names.c.name)
    names = names.union_all(select(following.scalar_subquery()).where(names.c.name.is_not(None)))
    return select(names.c.name).where(names.c.name.is_not(None))


def _within_budget(
    connection: Connection, now: float, asking: SubmitCandidate, terms: AdmissionRules
) -> Deferred | None:
    budget = terms.budget
    if not budget.is_set:
        return None
    if terms.reserve is None:
        raise UnknownPriceError(
            f"A budget is set, and the price of {asking.model} at {asking.provider} is not known."
        )
    scopes = (
        ("run", budget.run, attempts.c.intent == asking.intent),
        ("day", budget.day, _of_today(now)),
    )
    later = None
    for scope, limit, rows in scopes:
        if limit is None:
            continue
        spent, aside = _money(connection, rows, _in_flight(now, terms), terms.reserve)
        if spent + terms.reserve > limit + _ROUNDING:
            raise BudgetReachedError(
                f"The budget of the {scope} is {limit:g}: {spent:g} of it is spent, and the next "
                f"picture may cost {terms.reserve:g}."
            )
        if spent + aside + terms.reserve > limit + _ROUNDING:
            later = Deferred(
                _LOOK_SECONDS,
                f"{aside:g} of the {scope}'s budget of {limit:g} is set aside for what is in "
                "flight",
            )
    return later


def _money(
    connection: Connection,
    rows: ColumnElement[bool],
    in_flight: ColumnElement[bool],
    otherwise: float,
) -> tuple[float, float]:
    """The money spent, and the money set aside for requests in flight.

    An ended attempt of unknown cost counts with its reserve, and one that was sent before there
    was a price with ``otherwise``.
    """
    money = func.coalesce(attempts.c.cost, attempts.c.reserved, otherwise)
    query = select(
        func.coalesce(func.sum(case((in_flight, 0.0), else_=money)), 0.0),
        func.coalesce(func.sum(case((in_flight, money), else_=0.0)), 0.0),
    ).where(rows, attempts.c.submitted_at.is_not(None))
    spent, aside = connection.execute(query).one()
    return float(spent), float(aside)


def money_today(connection: Connection, now: float) -> tuple[float, float]:
    """The cost of today's (UTC) requests, and the money set aside for those in flight."""
    in_flight = attempts.c.state.in_((State.SUBMITTING, State.SUBMITTED))
    return _money(connection, _of_today(now), in_flight, 0.0)


def _within_rates(
    connection: Connection, now: float, asking: SubmitCandidate, limits: Limits
) -> Deferred | None:
    sent = attempts.c.provider == asking.provider
    if limits.per_day is not None:
        today = and_(sent, attempts.c.submitted_at >= now - now % _DAY)
        if _count(connection, today) >= limits.per_day:
            raise DayLimitError(
                f"{limits.per_day} pictures a day are allowed of {asking.provider}, and today's "
                "(UTC) are made."
            )
    if limits.per_minute is None:
        return None
    # The limit is kept if the request before the last ``per_minute`` - 1 is a minute old.
    newest = (
        select(attempts.c.submitted_at)
        .where(sent, attempts.c.submitted_at > now - _MINUTE)
        .order_by(attempts.c.submitted_at.desc())
        .offset(limits.per_minute - 1)
        .limit(1)
    )
    blocking = connection.scalar(newest)
    if blocking is None:
        return None
    return Deferred(
        max(blocking + _MINUTE - now, 0.01), f"{limits.per_minute} a minute are allowed"
    )


def _within_flight(
    connection: Connection, now: float, asking: SubmitCandidate, terms: AdmissionRules
) -> Deferred | None:
    most = terms.limits.in_flight
    if most is None:
        return None
    rows = and_(attempts.c.provider == asking.provider, _in_flight(now, terms))
    if _count(connection, rows) < most:
        return None
    return Deferred(_LOOK_SECONDS, f"{most} in flight are allowed")


def _count(connection: Connection, rows: ColumnElement[bool]) -> int:
    return connection.scalar(select(func.count()).select_from(attempts).where(rows)) or 0
