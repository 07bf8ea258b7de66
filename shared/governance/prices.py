"""What models cost: the price list beside this file, how a model's name finds its row, and what tokens come to.

A price of one cent per million tokens is one micro-cent per token. Prices may have fractions of a cent, so they are
held in thousandths and a cost is rounded up to whole micro-cents once, at its end.
Source: NullRun docs, Budgets, Prices; docs/rulings.md#prices.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, TypeAlias

from shared.governance.money import MICRO
from shared.kit import json

Confidence: TypeAlias = Literal["high", "low"]

MOST_TOKENS = 10**9
"""More tokens than this in one call are nobody's."""

_FILE = Path(__file__).with_name("prices.json")
_PARTS = 1000
"""Parts of a micro-cent that prices are held in."""

_CACHED_OUTSIDE = frozenset({"anthropic", "bedrock", "aws_bedrock", "amazon_bedrock"})
"""Providers whose ``input_tokens`` leave out what came from the cache or went into it; others count it in."""

_CACHED_INSIDE = frozenset({"openai", "azure", "azure_openai", "openrouter", "google", "gemini", "xai", "deepseek",
                            "mistral", "groq", "together", "fireworks", "litellm"})  # fmt: skip

_VERSION = re.compile(
    r"(?:[-@](?:latest|preview|exp|experimental|beta|stable|instruct|chat|it|hf|thinking|online|\d{8}|\d{6}|\d{4}"
    r"|\d{4}-\d{2}-\d{2}|\d{2}-\d{2}|\d{2}-\d{4}|\d{3}|v\d+(?:\.\d+)*)|:[a-z0-9.]+)+"
)
"""What may follow a listed name without making it another model: a snapshot's date or number, a channel, a tag."""

_BEDROCK = re.compile(
    r"(?:(?:us|eu|apac|jp|au|global|us-gov)\.)?(?:anthropic|meta|mistral|amazon|cohere|deepseek|ai21)\."
)


@dataclass(frozen=True, slots=True)
class Rates:
    """Thousandths of a micro-cent per token."""

    input: int
    output: int
    cache_read: int
    cache_write: int
    reasoning: int


@dataclass(frozen=True, slots=True)
class Price:
    """What a model costs. ``listed`` is false for the default price; ``long`` counts above ``long_above`` tokens in.

    ``confidence`` is low for the default and for a model known only by its family.
    """

    rates: Rates
    provider: str
    confidence: Confidence
    listed: bool
    max_output: int | None = None
    long_above: int | None = None
    long: Rates | None = None


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one call, as its client counted them."""

    input: int = 0
    output: int = 0
    cache_read: int = 0
    cache_write: int = 0
    reasoning: int = 0


@dataclass(frozen=True, slots=True)
class _List:
    version: str
    default: Price
    rows: Mapping[str, Price]


def price(model: str | None) -> Price:
    """The price of a model by its name as clients write it: ``gpt-4o-2024-08-06``, ``openai/gpt-4o``, ``GPT-4o``.

    An unknown model has the default price, which no common model exceeds by much.
    """
    return _price(model[:200].strip().lower()) if model else _list().default


def cost(priced: Price, usage: Usage, provider: str | None = None) -> int:
    """Micro-cents of the tokens, rounded up. ``provider`` says how cached tokens were counted."""
    counted = (provider or "").strip().lower().replace("-", "_")
    style = counted if counted in _CACHED_OUTSIDE | _CACHED_INSIDE else priced.provider
    cached = usage.cache_read + usage.cache_write
    fresh = usage.input if style in _CACHED_OUTSIDE else max(0, usage.input - cached)
    # Gemini counts its thoughts beside the output, everybody else within it.
    beside = priced.provider == "google"
    plain = usage.output if beside else max(0, usage.output - usage.reasoning)
    rates = priced.rates
    if priced.long is not None and priced.long_above is not None and fresh + cached > priced.long_above:
        rates = priced.long
    parts = fresh * rates.input + plain * rates.output + usage.reasoning * rates.reasoning
    parts += usage.cache_read * rates.cache_read + usage.cache_write * rates.cache_write
    return -(-parts // _PARTS)


def project(model: str | None, estimated_tokens: int, max_output_tokens: int | None = None) -> int:
    """Micro-cents to reserve for a call: at least a cent. No more output is counted than the model can give."""
    priced = price(model)
    allowed = min(max(0, max_output_tokens or 0), MOST_TOKENS)
    if priced.max_output is not None:
        allowed = min(allowed, priced.max_output)
    tokens = min(max(0, estimated_tokens), MOST_TOKENS)
    return max(MICRO, cost(priced, Usage(input=tokens, output=allowed)))


def catalog_version() -> str:
    """The version of the price list."""
    return _list().version


@lru_cache(maxsize=1024)
def _price(name: str) -> Price:
    rows = _list().rows
    for candidate in _candidates(name):
        if candidate in rows:
            return rows[candidate]
    family: tuple[int, Price] | None = None
    for candidate in _candidates(name):
        for known in _beginnings(candidate):
            if known not in rows:
                continue
            row = rows[known]
            if _VERSION.fullmatch(candidate[len(known) :]):
                return row
            if family is None or len(known) > family[0]:
                family = len(known), replace(row, confidence="low")
            break
    return family[1] if family is not None else _list().default


def _candidates(name: str) -> list[str]:
    """The name, without the path before it, and without a cloud's own prefix: the first that is listed counts."""
    last = name.rsplit("/", 1)[-1]
    return list(dict.fromkeys((name, last, _BEDROCK.sub("", last, count=1))))


def _beginnings(name: str) -> list[str]:
    """The parts of a name that end before a separator, longest first."""
    ends = [place for place, letter in enumerate(name) if letter in "-@:"]
    return [name[:end] for end in reversed(ends)]


@lru_cache(maxsize=1)
def _list() -> _List:
    content = json.loads(_FILE.read_bytes())
    rows: dict[str, Price] = {}
    for name, row in content["models"].items():
        read = _row(row, listed=True)
        rows |= dict.fromkeys((name, *row.get("aliases", ())), read)
    return _List(content["version"], _row(content["default"], listed=False), rows)


def _row(row: Mapping[str, Any], *, listed: bool) -> Price:
    long = row.get("long")
    return Price(
        rates=_rates(row), provider=row.get("provider", ""), confidence="high" if listed else "low", listed=listed,
        max_output=row.get("max_output"), long_above=None if long is None else long["above"],
        long=None if long is None else _rates(long),
    )  # fmt: skip


def _rates(row: Mapping[str, Any]) -> Rates:
    """The rates of a row; what it leaves out costs what input or output cost."""
    fallback = {"cache_read": "input", "cache_write": "input", "reasoning": "output"}
    names = ("input", "output", "cache_read", "cache_write", "reasoning")
    return Rates(*(round(row.get(name, row[fallback.get(name, name)]) * _PARTS) for name in names))
