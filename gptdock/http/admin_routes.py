"""The routes of `/v1/admin`, for operators who have a key of ADMIN_KEY."""

import logging
import re
from collections.abc import AsyncIterator, Mapping
from typing import Any, TypeVar

from aiohttp import web

from gptdock import accounts
from gptdock.accounts import Account
from gptdock.admin import clients
from gptdock.admin.changes import Credit, Operator
from gptdock.admin.report_rows import COLUMNS, OF_ALL, OF_ONE, By, Row, row
from gptdock.admin.report_stream import Report, ReportOnAll, as_csv, as_json, chunks, stream_rows
from gptdock.errors import CallerGone, InvalidRequest, LedgerUnavailable
from gptdock.http import client_routes
from gptdock.http.app_keys import OPERATOR, REQUEST_ID, SERVICES
from gptdock.http.bodies import read_body
from gptdock.http.caller import Caller
from gptdock.http.cursors import from_cursor, to_cursor
from gptdock.ledger import periods
from gptdock.prompt import strict_json
from gptdock.settings import MOST_QUOTA_TOKENS
from gptdock.telemetry import request_line

log = logging.getLogger(__name__)

MOST_ON_A_PAGE = 1000
MOST_PERCENT = 100

Choice = TypeVar("Choice", bound=str)


async def list_clients(request: web.Request) -> web.Response:
    """One page of all clients, or of those that contain a text, and the cursor of the next page."""
    after = _after(request, len(Account._fields))
    place = Account(*after) if after else None
    page, last = await request.app[SERVICES].clients.page(_limit(request), place, request.query.get("find", ""))
    shown = [clients.to_json(client) for client in page]
    return web.json_response({"clients": shown, "next_cursor": to_cursor(last) if last else None})


async def near(request: web.Request) -> web.Response:
    """A page of the clients who have used or hold most of their quota of the running period."""
    ours = request.app[SERVICES]
    await ours.ledger.hear()
    percent, limit, after = _percent(request), _limit(request), _near_after(request)
    found = await clients.fullest(ours.clients.spent(), percent, limit + 1, after)
    shown = [clients.spent_to_json(book) for book in found[:limit]]
    last = found[limit - 1] if len(found) > limit else None
    cursor = to_cursor([repr(last.percent), *last.account]) if last else None
    return web.json_response({"period": ours.clients.period(), "clients": shown, "next_cursor": cursor})


async def look(request: web.Request) -> web.Response:
    """One client and its books."""
    return web.json_response((await request.app[SERVICES].clients.look(client_routes.read_account(request))).to_json())


async def set_quota(request: web.Request) -> web.Response:
    """Set the client's quota, now and for all later periods; create the client if it is new, unless it must exist."""
    account, existing = client_routes.read_account(request), _one_of(request, "existing", ("false", "true")) == "true"
    max_quota = _tokens(await _body(request), "max_quota", least=0)
    overview = await request.app[SERVICES].clients.set_quota(account, max_quota, _operator(request), existing=existing)
    return web.json_response(overview.to_json())


async def set_default(request: web.Request) -> web.Response:
    """Let the client's quota follow DEFAULT_TOKEN_QUOTA again."""
    overview = await request.app[SERVICES].clients.set_default(client_routes.read_account(request), _operator(request))
    return web.json_response(overview.to_json())


async def credit(request: web.Request) -> web.Response:
    """Add tokens to the client's running period, once for each id."""
    account, body = client_routes.read_account(request), await _body(request)
    tokens, reason = _tokens(body, "tokens", least=1), accounts.identity(body.get("reason"), "reason")
    credit = Credit(tokens, reason, accounts.once(body.get("id"), "id"))
    overview = await request.app[SERVICES].clients.credit(account, credit, _operator(request))
    return web.json_response(overview.to_json())


async def reset(request: web.Request) -> web.Response:
    """Set the tokens used in the client's running period to 0."""
    overview = await request.app[SERVICES].clients.reset(client_routes.read_account(request), _operator(request))
    return web.json_response(overview.to_json())


async def forget(request: web.Request) -> web.Response:
    """Put a pseudonym in the place of a client or a user."""
    body = await _body(request)
    named = [name for name in ("client_id", "user_id") if body.get(name) is not None]
    if len(named) != 1:
        raise InvalidRequest("Name a client_id or a user_id, and not both.", param="client_id")
    [param] = named
    whom, dry_run = accounts.identity(body[param], param), body.get("dry_run")
    if dry_run is not None and type(dry_run) is not bool:
        raise InvalidRequest("dry_run must be true or false.", param="dry_run")
    forgetting = request.app[SERVICES].clients.forgetting(_operator(request))
    act = forgetting.client if param == "client_id" else forgetting.user
    await request.app[SERVICES].ledger.hear()
    return web.json_response((await act(whom, dry_run=dry_run is True)).to_json())


async def report(request: web.Request) -> web.StreamResponse:
    """What the client used, as JSON or CSV, sent while it is read from DynamoDB."""
    await request.app[SERVICES].ledger.hear()
    asked = _report(request, OF_ONE)
    await request.app[SERVICES].clients.look(asked.account)  # raises ClientNotFound; sweeps lost leases first
    rows = stream_rows(request.app[SERVICES].clients.receipts(asked.account, asked.period), asked.by)
    return await _sent(request, asked, rows)


async def receipts(request: web.Request) -> web.Response:
    """One page of a client's receipts, newest first, and the cursor of the next page."""
    await request.app[SERVICES].ledger.hear()
    asked, before = _report(request, ("request",)), _after(request, 1)
    await request.app[SERVICES].clients.look(asked.account)  # raises ClientNotFound; sweeps lost leases first
    limit, place = _limit(request), before[0] if before else None
    page, last = await request.app[SERVICES].clients.newest_receipts(asked.account, asked.period, limit, place)
    shown = [dict(zip(COLUMNS["request"], row(receipt), strict=True)) for receipt in page]
    named = {**asked.account._asdict(), "period": asked.period}
    return web.json_response({**named, "receipts": shown, "next_cursor": to_cursor([last]) if last else None})


async def report_on_all(request: web.Request) -> web.StreamResponse:
    """What all clients used, as JSON or CSV; the whole table is read."""
    await request.app[SERVICES].ledger.hear()
    asked = _report_on_all(request)
    rows = stream_rows(request.app[SERVICES].clients.receipts_of_all(asked.since, asked.until), asked.by)
    return await _sent(request, asked, rows)


async def _body(request: web.Request) -> dict[str, Any]:
    return strict_json.parse_object(await read_body(request, request.app[SERVICES].settings))


async def _sent(request: web.Request, asked: Report | ReportOnAll, rows: AsyncIterator[Row]) -> web.StreamResponse:
    if _one_of(request, "format", ("json", "csv")) == "json":
        headers = {"Content-Type": "application/json; charset=utf-8"}
        return await _written(request, headers, as_json(asked, rows))
    name = f"usage-{asked.days.replace(' ', '-')}-by-{asked.by}.csv"
    headers = {"Content-Type": "text/csv; charset=utf-8", "Content-Disposition": f'attachment; filename="{name}"'}
    return await _written(request, headers, as_csv(asked, rows))


async def _written(request: web.Request, headers: dict[str, str], pieces: AsyncIterator[str]) -> web.StreamResponse:
    # If reading fails on the way, the connection is cut: half a report must not look like a whole one.
    response = web.StreamResponse(headers=headers)
    caller = Caller(request, request.app[SERVICES].settings, response)
    try:
        async for chunk in chunks(pieces):
            await caller.write(chunk.encode())
        await caller.end()
    except CallerGone:
        log.info("report not read to its end")
        request_line.current().fields["outcome"] = "caller_left"
    except LedgerUnavailable as exc:
        if not response.prepared:
            raise
        log.warning("report broken off", extra={"fault": exc.fault})
        request_line.current().fields["outcome"] = exc.code
    finally:
        caller.cut_unless_ended()
    return response


def _operator(request: web.Request) -> Operator:
    return Operator(request[OPERATOR], request[REQUEST_ID])


def _tokens(body: Mapping[str, Any], param: str, least: int) -> int:
    tokens = body.get(param)
    if type(tokens) is not int or not least <= tokens <= MOST_QUOTA_TOKENS:
        raise InvalidRequest(f"{param} must be an integer from {least} to {MOST_QUOTA_TOKENS}.", param=param)
    return tokens


def _limit(request: web.Request) -> int:
    text = request.query.get("limit") or "100"
    if not re.fullmatch("[0-9]{1,4}", text) or not 1 <= int(text) <= MOST_ON_A_PAGE:
        raise InvalidRequest(f"limit must be an integer from 1 to {MOST_ON_A_PAGE}.", param="limit")
    return int(text)


def _after(request: web.Request, size: int) -> list[str] | None:
    cursor = request.query.get("cursor")
    return from_cursor(cursor, size) if cursor else None


def _near_after(request: web.Request) -> tuple[float, Account] | None:
    """The place of the last client on the page before."""
    place = _after(request, 3)
    if place is None:
        return None
    if not re.fullmatch(r"-?[0-9]{1,20}(\.[0-9]{1,20})?(e[+-]?[0-9]{1,3})?", place[0]):
        raise InvalidRequest("cursor must be the next_cursor of another page.", param="cursor")
    return -float(place[0]), Account(*place[1:])


def _report(request: web.Request, choices: tuple[By, ...]) -> Report:
    account = client_routes.read_account(request)
    period = request.query.get("period") or request.app[SERVICES].clients.period()
    if not periods.is_period(period):
        raise InvalidRequest("period must be all, a month like 2026-11 or a day like 2026-11-23.", param="period")
    return Report(account, period, _one_of(request, "by", choices))


def _report_on_all(request: web.Request) -> ReportOnAll:
    first, today = request.app[SERVICES].clients.this_month()
    since, until = request.query.get("from") or first, request.query.get("to") or today
    for name, day in (("from", since), ("to", until)):
        if len(day) != len(today) or not periods.is_period(day):
            raise InvalidRequest(f"{name} must be a day like 2026-11-23.", param=name)
    if since > until:
        raise InvalidRequest(f"from must not be after to; it is {since}, and to is {until}.", param="from")
    return ReportOnAll(since, until, _one_of(request, "by", OF_ALL))


def _percent(request: web.Request) -> int:
    text = request.query.get("percent") or "80"
    if not re.fullmatch("[0-9]{1,3}", text) or int(text) > MOST_PERCENT:
        raise InvalidRequest(f"percent must be an integer from 0 to {MOST_PERCENT}.", param="percent")
    return int(text)


def _one_of(request: web.Request, param: str, choices: tuple[Choice, ...]) -> Choice:
    value = request.query.get(param) or choices[0]
    for choice in choices:
        if choice == value:
            return choice
    raise InvalidRequest(f"{param} must be one of {', '.join(choices)}.", param=param)
