"""What models cost, by whatever name, and what tokens come to."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from shared.governance import prices
from shared.governance.money import MICRO
from shared.governance.prices import MOST_TOKENS, Usage, cost, price, project
from shared.kit import json

FILE = json.loads(Path(prices.__file__).with_name("prices.json").read_bytes())


@pytest.mark.parametrize(
    ("name", "listed"),
    [
        ("gpt-4o", "gpt-4o"),
        ("GPT-4o", "gpt-4o"),
        (" gpt-4o ", "gpt-4o"),
        ("openai/gpt-4o", "gpt-4o"),
        ("openrouter/openai/gpt-4o", "gpt-4o"),
        ("gpt-4o-2024-08-06", "gpt-4o"),
        ("gpt-4o-2024-05-13", "gpt-4o-2024-05-13"),
        ("chatgpt-4o-latest", "gpt-4o"),
        ("gpt-4o-mini-2024-07-18", "gpt-4o-mini"),
        ("gpt-4-0613", "gpt-4"),
        ("gpt-4.1-nano", "gpt-4.1-nano"),
        ("o1-2024-12-17", "o1"),
        ("claude-3-5-sonnet-20241022", "claude-3-5-sonnet"),
        ("claude-3-5-sonnet-latest", "claude-3-5-sonnet"),
        ("anthropic/claude-3.5-sonnet:beta", "claude-3-5-sonnet"),
        ("claude-3-5-sonnet-v2@20241022", "claude-3-5-sonnet"),
        ("anthropic.claude-3-5-sonnet-20240620-v1:0", "claude-3-5-sonnet"),
        ("us.anthropic.claude-sonnet-4-5-20250929-v1:0", "claude-sonnet-4-5"),
        ("claude-opus-4-20250514", "claude-opus-4"),
        ("claude-opus-4-1-20250805", "claude-opus-4-1"),
        ("models/gemini-1.5-pro-002", "gemini-1.5-pro"),
        ("gemini-2.5-pro-preview-05-06", "gemini-2.5-pro"),
        ("gemini-2.5-flash-lite", "gemini-2.5-flash-lite"),
        ("mistral-large-2411", "mistral-large"),
        ("meta.llama3-1-70b-instruct-v1:0", "llama-3.1-70b-instruct"),
        ("meta-llama/Llama-3.3-70B-Instruct", "llama-3.3-70b-instruct"),
        ("deepseek/deepseek-r1:free", "deepseek-reasoner"),
        ("xai/grok-3-latest", "grok-3"),
        ("grok-4-0709", "grok-4"),
    ],
)
def test_a_name_finds_its_row(name: str, listed: str) -> None:
    """Snapshots, channels, letter case and what providers and clouds put before it make no difference."""
    found = price(name)
    assert found == price(listed)
    assert (found.confidence, found.listed) == ("high", True)
    assert found.rates.input == round(FILE["models"][listed]["input"] * 1000)


@pytest.mark.parametrize("name", ["gpt-4o-something-new", "claude-opus-4-9", "azure/gpt-4o-our-deployment"])
def test_a_member_of_a_known_family_has_its_price_with_low_confidence(name: str) -> None:
    """Nearer to the truth than the default, and said to be no certainty."""
    found = price(name)
    assert (found.confidence, found.listed, found == price(None)) == ("low", True, False)


@pytest.mark.parametrize(
    "name", [None, "", "house-model", "gpt-6", "gpt-4.9", "llama", "-", "/", ":", "m" * 10_000, "é\0"]
)
def test_an_unknown_model_has_the_default_price(name: str | None) -> None:
    """Never nothing; its confidence is low."""
    found = price(name)
    assert found == price(None)
    assert (found.confidence, found.listed) == ("low", False)
    assert found.rates.input > 0 and found.rates.output > 0


def test_the_default_is_conservative() -> None:
    """Of the models that are listed at most one in ten is dearer."""
    default = price(None).rates
    dearer = [name for name in FILE["models"] if price(name).rates.output > default.output]
    assert len(dearer) * 10 <= len(FILE["models"])


@pytest.mark.parametrize(
    ("model", "usage", "provider", "micro"),
    [
        # One cent per million tokens is one micro-cent per token.
        ("gpt-4o", Usage(1_000_000, 0), None, 250 * MICRO),
        ("gpt-4o", Usage(0, 1_000_000), None, 1000 * MICRO),
        ("gpt-4o", Usage(1, 1), None, 1250),
        # OpenAI counts cached tokens and reasoning within.
        ("gpt-4o", Usage(1000, 0, cache_read=400), None, 600 * 250 + 400 * 125),
        ("gpt-4o", Usage(100, 0, cache_read=400), None, 400 * 125),
        ("o1", Usage(0, 1000, reasoning=600), None, 1000 * 6000),
        ("o1", Usage(0, 100, reasoning=600), None, 600 * 6000),
        # Anthropic counts cached tokens beside, and writing to the cache costs more.
        ("claude-3-5-sonnet", Usage(1000, 10, 400, 200), None, 1000 * 300 + 10 * 1500 + 400 * 30 + 200 * 375),
        ("claude-3-5-sonnet", Usage(1000, 0, cache_read=400), "anthropic", 1000 * 300 + 400 * 30),
        # Through a gateway of OpenAI's form they are within.
        ("anthropic/claude-3.5-sonnet", Usage(1000, 0, cache_read=400), "OpenRouter", 600 * 300 + 400 * 30),
        ("claude-3-5-sonnet", Usage(1000, 0, cache_read=400), "somebody", 1000 * 300 + 400 * 30),
        ("anthropic.claude-3-haiku", Usage(1000, 0, cache_read=400), "aws-bedrock", 1000 * 25 + 400 * 3),
        # Google counts thoughts beside the output.
        ("gemini-2.5-flash", Usage(0, 100, reasoning=600), "google", 700 * 250),
        # Fractions of a cent: 7.5 and 1.875 cents per million, rounded up once.
        ("gpt-4o-mini", Usage(1, 0, cache_read=1), None, 8),
        ("gemini-1.5-flash", Usage(3, 0), None, 23),
        # Long prompts.
        ("gemini-2.5-pro", Usage(200_000, 10), None, 200_000 * 125 + 10 * 1000),
        ("gemini-2.5-pro", Usage(200_001, 10), None, 200_001 * 250 + 10 * 1500),
        ("claude-sonnet-4-5", Usage(100_000, 0, cache_read=100_001), None, 100_000 * 600 + 100_001 * 60),
        (None, Usage(1000, 100), None, 1000 * 1500 + 100 * 7500),
        ("gpt-4o", Usage(), None, 0),
    ],
)
def test_costs(model: str | None, usage: Usage, provider: str | None, micro: int) -> None:
    """Whole micro-cents by the ways in which providers count."""
    assert cost(price(model), usage, provider) == micro


@pytest.mark.parametrize(
    ("model", "estimated", "allowed", "micro"),
    [
        ("gpt-4o", 1, None, MICRO),
        (None, 1, None, MICRO),
        ("gpt-4o", 0, 0, MICRO),
        ("gpt-4o", -5, -5, MICRO),
        ("gpt-4o", 40_000, None, 10 * MICRO),
        ("gpt-4o", 4_000, 1_000, 2 * MICRO),
        ("gpt-4o", 0, 10**6, 16_384 * 1000),
        ("mistral-large", 0, 10**12, MOST_TOKENS * 600),
        ("o1", 10**12, None, MOST_TOKENS * 1500),
    ],
)
def test_projections(model: str | None, estimated: int, allowed: int | None, micro: int) -> None:
    """At least a cent; the output that is allowed, as far as the model can give it; never beyond what is believable."""
    assert project(model, estimated, allowed) == micro


def test_the_file_is_sound() -> None:
    """Every row has prices that are no less than nothing, a provider, and names in lower case that nobody else has."""
    assert re.fullmatch(r"\d{4}-\d{2}-\d{2}", prices.catalog_version())
    names: list[str] = []
    for name, row in FILE["models"].items():
        names += [name, *row.get("aliases", ())]
        assert row["provider"]
        for rates in (row, row.get("long", row)):
            assert min(rates[kind] for kind in ("input", "output")) >= 0
            assert rates.get("cache_read", 0) <= rates["input"]
    assert names == [name.lower() for name in names]
    assert len(set(names)) == len(names)
