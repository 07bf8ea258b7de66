"""What ``http.request`` and ``webhook`` share: a request made of a node's parameters, and the answer as its output."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from shared.engine.kinds.base import Call, NodeFailed
from shared.engine.kinds.once import ONCE_PARAMETERS, operation
from shared.engine.kinds.outward import reaching
from shared.engine.kinds.scripting import DURATION, seconds, text_of
from shared.kit import json
from shared.outbound import HttpResponse

DEFAULT_TIMEOUT_S = 30.0
FORM = "application/x-www-form-urlencoded"
JSON = "application/json"

_TEXT: dict[str, Any] = {"type": "string"}
MESSAGE_PARAMETERS: dict[str, Any] = {
    "url": {"type": "string", "description": "An http or https address."},
    "headers": {"type": "object", "description": "Header fields; values that are no text become text."},
    "query_params": {"type": "object", "description": "Appended to the URL; a list gives the name several times."},
    "body": {"description": "An object or a list is sent as JSON, text as it is."},
    "form_data": {"type": "object", "description": "Sent URL-encoded instead of a body."},
    "auth": {
        "type": "object",
        "description": "Basic (username, password), Bearer (token) or an API key in a header.",
        "properties": {
            "username": _TEXT,
            "password": _TEXT,
            "token": _TEXT,
            "api_key": _TEXT,
            "key_name": _TEXT | {"description": "The key's header; X-API-Key unless given."},
        },
    },
    "username": _TEXT,
    "password": _TEXT,
    "bearer_token": _TEXT,
    "api_key": _TEXT,
    "key_name": _TEXT,
    "timeout": DURATION | {"description": "For the whole exchange; 30s unless given. A number is seconds."},
    "follow_redirects": {"type": "boolean", "default": True},
    "follow_redirect": {"type": "boolean", "description": "The same as follow_redirects."},
    **ONCE_PARAMETERS,
}


@dataclass(frozen=True, slots=True)
class Message:
    """A request as it will be sent."""

    method: str
    url: str
    headers: dict[str, str]
    body: bytes | None


def message(call: Call, *, method: str, body: Any = None) -> Message:
    """The request a node's parameters describe; ``method`` and ``body`` are used where they say nothing.

    ``body`` is a JSON value; GET and HEAD have none of their own. Raises NodeFailed for what makes no sense.
    """
    params = call.params
    method = text_of(params.get("method") or method).strip().upper()
    url = call.require("url")
    if not isinstance(url, str):
        raise NodeFailed("url must be text", retryable=False)
    given = {name: _header_text(value) for name, value in _object(params, "headers").items() if value is not None}
    content_type = next((value for name, value in given.items() if name.lower() == "content-type"), None)
    content, implied_type = _content(params, method, body, content_type)
    implied = {
        "Idempotency-Key": operation(call) or call.idempotency_key,
        "X-Signalbox-Attempt": str(call.attempt),
        **_credentials(params),
    }
    if implied_type is not None:
        implied["Content-Type"] = implied_type
    taken = {name.lower() for name in given}
    headers = {name: value for name, value in implied.items() if name.lower() not in taken} | given
    return Message(method, _with_query(url.strip(), _object(params, "query_params")), headers, content)


def send(call: Call, message: Message) -> HttpResponse:
    """Send it within the node's limits. Raises NodeFailed when no whole answer came."""
    with reaching():
        return call.services.http.request(
            message.method,
            message.url,
            headers=message.headers,
            body=message.body,
            timeout_s=_timeout_s(call),
            follow_redirects=_flag(call.params, "follow_redirects") and _flag(call.params, "follow_redirect"),
        )


def output(message: Message, response: HttpResponse) -> dict[str, Any]:
    """The node's output (FlowRunner language, http.request result)."""
    content_type = response.header("content-type") or ""
    text = response.text()
    raw = base64.b64encode(response.body).decode() if text is None else text
    result: dict[str, Any] = {
        "status_code": response.status,
        "headers": _canonical(response.headers),
        "body": _parsed(raw) if text is not None and "json" in content_type.lower() else raw,
        "raw_body": raw,
        "success": 200 <= response.status < 300,
        "timing_ms": response.elapsed_ms,
        "metadata": {
            "content_type": content_type,
            "content_length": len(response.body),
            "request_url": message.url,
            "request_method": message.method,
            "timing": f"{response.elapsed_ms}ms",
            "timing_ms": response.elapsed_ms,
        },
    }
    return result if text is not None else result | {"encoding": "base64"}


# Request


def _object(params: Mapping[str, Any], name: str) -> dict[str, Any]:
    value = params.get(name)
    if value is None or value == "":
        return {}
    if not isinstance(value, dict):
        raise NodeFailed(f"{name} must be an object", retryable=False)
    return value


def _header_text(value: Any) -> str:
    # Several values of one field are one list with commas (RFC 9110, field lines).
    return ", ".join(map(text_of, value)) if isinstance(value, list) else text_of(value)


def _content(
    params: Mapping[str, Any], method: str, default: Any, content_type: str | None
) -> tuple[bytes | None, str | None]:
    """The body, and the content type it implies."""
    form = _object(params, "form_data")
    body = params.get("body")
    if form:
        if body is not None and body != "":
            raise NodeFailed("give either body or form_data, not both", retryable=False)
        return _form(form), FORM
    body = default if body is None and method not in ("GET", "HEAD") else body
    if body is None:
        return None, None
    if isinstance(body, dict) and content_type is not None and content_type.lower().startswith(FORM):
        return _form(body), FORM
    if not isinstance(body, str):
        return json.dumpb(body), JSON
    if body == "":
        return None, None
    content = body.encode("utf-8", "replace")
    if body.lstrip().startswith(("{", "[")):
        return content, JSON
    return content, "text/plain" if body.isascii() else "text/plain; charset=utf-8"


def _form(fields: Mapping[str, Any]) -> bytes:
    return urlencode(list(_pairs(fields))).encode("ascii")


def _pairs(fields: Mapping[str, Any]) -> Iterator[tuple[bytes, bytes]]:
    for name, value in fields.items():
        for one in value if isinstance(value, list) else [value]:
            if one is not None:
                yield name.encode("utf-8", "replace"), text_of(one).encode("utf-8", "replace")


def _with_query(url: str, fields: Mapping[str, Any]) -> str:
    query = urlencode(list(_pairs(fields)))
    if not query:
        return url
    base, mark, fragment = url.partition("#")
    separator = "" if base.endswith(("?", "&")) else "&" if "?" in base else "?"
    return f"{base}{separator}{query}{mark}{fragment}"


def _credentials(params: Mapping[str, Any]) -> dict[str, str]:
    """Header fields of ``auth`` and of its flat forms."""
    flat = {"token": "bearer_token"} | {name: name for name in ("username", "password", "api_key", "key_name")}
    fields = {name: params[given] for name, given in flat.items() if given in params} | _object(params, "auth")
    for name in ("token", "api_key", "username"):
        if name in fields and fields[name] in (None, ""):
            raise NodeFailed(f"the credential {name} is empty; is the secret it names set?", retryable=False)
    if params.get("auth") and not fields.keys() & {"token", "api_key", "username"}:
        raise NodeFailed("auth needs username and password, token, or api_key", retryable=False)
    headers: dict[str, str] = {}
    if "token" in fields:
        headers["Authorization"] = f"Bearer {text_of(fields['token'])}"
    elif "username" in fields:
        password = fields.get("password")
        pair = f"{text_of(fields['username'])}:{'' if password is None else text_of(password)}"
        headers["Authorization"] = f"Basic {base64.b64encode(pair.encode('utf-8', 'replace')).decode()}"
    if "api_key" in fields:
        headers[text_of(fields.get("key_name") or "X-API-Key")] = text_of(fields["api_key"])
    return headers


def _timeout_s(call: Call) -> float:
    given = call.params.get("timeout")
    wanted = DEFAULT_TIMEOUT_S if given is None or given == "" else seconds(given, "timeout")
    if wanted == 0:
        raise NodeFailed("timeout must be more than 0", retryable=False)
    return min(wanted, call.services.wall_clock_limit_s)


def _flag(params: Mapping[str, Any], name: str) -> bool:
    value = params.get(name)
    if value is None or value == "" or isinstance(value, bool):
        return value is not False
    if text_of(value).lower() in ("true", "false"):
        return text_of(value).lower() == "true"
    raise NodeFailed(f"{name} must be true or false", retryable=False)


# Answer


def _parsed(text: str) -> Any:
    """The JSON value; the text itself when it is none that can be stored."""
    try:
        value = json.loads(text)
        json.dumps(value)
    except (ValueError, RecursionError):
        return text
    return value


def _canonical(headers: Mapping[str, list[str]]) -> dict[str, list[str]]:
    """Names as Go writes them, as the reference server shows them: ``content-type`` is ``Content-Type``."""
    found: dict[str, list[str]] = {}
    for name, values in headers.items():
        found.setdefault("-".join(part.capitalize() for part in name.split("-")), []).extend(values)
    return found
