"""What a provider's wire format is to the rest: a request in, a completion out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol
from urllib.parse import urlsplit, urlunsplit


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """One question to a model. Messages, tools and ``tool_choice`` are in OpenAI's shape whoever the provider is.

    ``temperature`` None leaves it to the provider; ``temperature_is_default`` says that the author did not choose it.
    ``options`` go into the request's body as they are, ``headers`` into its head.
    """

    provider: str
    api_key: str
    base_url: str | None
    model: str
    messages: Sequence[Mapping[str, Any]]
    temperature: float | None = None
    temperature_is_default: bool = False
    max_tokens: int | None = None
    stop: tuple[str, ...] = ()
    tools: Sequence[Mapping[str, Any]] = ()
    functions: Sequence[Mapping[str, Any]] = ()
    tool_choice: Any = None
    response_format: Mapping[str, Any] | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)

    def with_messages(self, messages: Sequence[Mapping[str, Any]]) -> ChatRequest:
        """The same request about another conversation."""
        return replace(self, messages=messages)


@dataclass(frozen=True, slots=True)
class Completion:
    """A model's answer in OpenAI's shape. ``raw`` is what the provider sent; ``usage`` counts tokens."""

    id: str
    model: str
    choices: list[dict[str, Any]]
    usage: dict[str, Any]
    raw: dict[str, Any]

    @property
    def message(self) -> dict[str, Any]:
        """The first choice's message: ``role``, ``content`` and, if any, ``tool_calls``."""
        message = self.choices[0].get("message")
        return message if isinstance(message, dict) else {}

    @property
    def content(self) -> str:
        """The first choice's text, empty when there is none."""
        return text_of_content(self.message.get("content"))

    @property
    def tool_calls(self) -> list[dict[str, Any]]:
        """The tools the first choice asks for, an outdated ``function_call`` among them."""
        calls = self.message.get("tool_calls")
        if isinstance(calls, list) and calls:
            return [one for one in calls if isinstance(one, dict)]
        function = self.message.get("function_call")
        if isinstance(function, dict):
            return [{"id": f"call_{function.get('name', '')}", "type": "function", "function": function}]
        return []

    @property
    def finish_reason(self) -> str:
        """Why the first choice ended: stop, length, tool_calls, content_filter, or a provider's own word."""
        reason = self.choices[0].get("finish_reason")
        return reason if isinstance(reason, str) else ""


class WireFormat(Protocol):
    """How one kind of provider is spoken to."""

    default_url: str

    def url(self, base_url: str) -> str:
        """Where requests go."""

    def headers(self, request: ChatRequest) -> dict[str, str]:
        """Credentials and the version of the API."""

    def body(self, request: ChatRequest) -> dict[str, Any]:
        """The request as JSON. Raises NodeFailed for what the provider cannot take."""

    def completion(self, answer: dict[str, Any]) -> Completion:
        """The answer in the common shape. Raises ValueError when it is none."""


def text_of_content(content: Any) -> str:
    """A message's text: the content itself, or its text parts joined."""
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else []
    texts = (part.get("text") for part in parts if isinstance(part, dict))
    return "".join(text for text in texts if isinstance(text, str))


def with_path(base_url: str, ending: str, addition: str) -> str:
    """``base_url`` with ``addition`` behind its path, unless the path already ends in ``ending``; the query stays."""
    parts = urlsplit(base_url)
    path = parts.path.rstrip("/")
    return urlunsplit(parts._replace(path=path if path.endswith(ending) else path + addition))


def counts(usage: Mapping[str, Any]) -> dict[str, int]:
    """The tokens of a completion's ``usage``. Those from and for the cache are among ``prompt_tokens``, and those of
    reasoning among ``completion_tokens``.
    """
    prompt, completion = usage.get("prompt_tokens_details"), usage.get("completion_tokens_details")
    found = {name: count(usage.get(name)) for name in ("prompt_tokens", "completion_tokens", "total_tokens")}
    for details, name in (
        (prompt, "cached_tokens"), (prompt, "cache_creation_tokens"), (completion, "reasoning_tokens"),
    ):  # fmt: skip
        found[name] = count(details.get(name)) if isinstance(details, Mapping) else 0
    return found


def count(value: Any) -> int:
    """A number of tokens; whatever is none counts as zero."""
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0
