"""Wire models of the flows family. Source: FlowRunner API Reference, Flow Management."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator, AliasChoices, ConfigDict, Field

from shared.kit.clock import parse_rfc3339
from shared.web.requests import WireAnswer, WireModel


def _named(value: str) -> str:
    if not value.strip():
        raise ValueError("Name is required")
    return value


def _moment(value: str) -> str:
    try:
        parse_rfc3339(value)
    except ValueError:
        raise ValueError("The time must be RFC 3339, for example 2026-01-01T12:00:00Z") from None
    return value


EXAMPLE_YAML = """metadata:
  name: "My Flow"
  version: "1.0.0"
nodes:
  start:
    type: http.request
    params: {url: "https://api.example.com/data"}
    next: {default: end}
  end:
    type: webhook
    params: {url: "https://webhook.example.com/callback"}
"""
_ROW = {
    "id": "0198c0de-0000-7000-8000-000000000000",
    "name": "My Flow",
    "description": "A simple flow",
    "version": "1.0.0",
    "created_at": "2023-01-01T12:00:00.000Z",
    "updated_at": "2023-01-01T12:00:00.000Z",
    "tags": ["production"],
}


def _example(**fields: Any) -> ConfigDict:
    return ConfigDict(json_schema_extra={"examples": [fields]})


Name = Annotated[str, Field(max_length=200), AfterValidator(_named)]
Description = Annotated[str, Field(max_length=4000)]
Definition = Annotated[str, Field(min_length=1, validation_alias=AliasChoices("definition", "content", "yaml"))]
Tags = Annotated[list[Annotated[str, Field(max_length=100)]], Field(max_length=50)]
Moment = Annotated[str, AfterValidator(_moment)]


class CreateFlow(WireModel):
    """A new flow; ``content`` and ``yaml`` are other names of ``definition``."""

    model_config = _example(name="My Flow", description="A simple flow", definition=EXAMPLE_YAML, tags=["production"])

    name: Name
    definition: Definition
    description: Description | None = None
    tags: Tags | None = None


class UpdateFlow(WireModel):
    """Changes of a flow; what is left out stays."""

    model_config = _example(name="Updated Flow", tags=["production", "updated"])

    name: Name | None = None
    definition: Annotated[
        str | None, Field(min_length=1, validation_alias=AliasChoices("definition", "content", "yaml"))
    ] = None
    description: Description | None = None
    tags: Tags | None = None


class FlowMetadata(WireModel):
    """Data about a flow; ``custom`` is merged key by key, the rest replaces."""

    model_config = _example(category="reports", status="live", custom={"owner": "ada"})

    tags: Tags | None = None
    category: Annotated[str, Field(max_length=200)] | None = None
    status: Annotated[str, Field(max_length=200)] | None = None
    custom: dict[str, Any] | None = None


class FlowSearch(WireModel):
    """What to look for; everything given must hold, of ``tags`` any."""

    model_config = _example(name_contains="report", tags=["production"], page=1)

    name_contains: str | None = None
    description_contains: str | None = None
    tags: list[str] | None = None
    category: str | None = None
    status: str | None = None
    created_after: Moment | None = None
    created_before: Moment | None = None
    updated_after: Moment | None = None
    updated_before: Moment | None = None
    page: Annotated[int, Field(ge=1)] = 1
    page_size: Annotated[int, Field(ge=1, le=100)] = 10


class FlowRow(WireAnswer):
    """A flow as lists show it."""

    model_config = _example(**_ROW)

    id: str
    name: str
    description: str
    version: str
    created_at: str
    updated_at: str
    tags: list[str]


class FlowDetail(FlowRow):
    """A flow with its definition, byte for byte."""

    model_config = _example(**_ROW, definition=EXAMPLE_YAML)

    definition: str


class FlowFound(FlowRow):
    """A flow as a search shows it."""

    model_config = _example(**_ROW, account_id="account-123", category="reports", status="live", custom={})

    account_id: str
    category: str
    status: str
    custom: dict[str, Any]


class FlowList(WireAnswer):
    """A part of the list of flows, oldest first."""

    model_config = _example(flows=[_ROW], total=1, limit=10, offset=0)

    flows: list[FlowRow]
    total: int
    limit: int
    offset: int


class FlowVersion(WireAnswer):
    """One version of a flow; ``revision`` counts from 1."""

    model_config = _example(revision=1, version="1.0.0", created_at="2023-01-01T12:00:00.000Z")

    revision: int
    version: str
    created_at: str


class FlowVersions(WireAnswer):
    """A part of a flow's versions, oldest first."""

    model_config = _example(
        versions=[{"revision": 1, "version": "1.0.0", "created_at": _ROW["created_at"]}], total=1, limit=10, offset=0
    )

    versions: list[FlowVersion]
    total: int
    limit: int
    offset: int


class FlowDeleted(WireAnswer):
    """That the flow is gone."""

    model_config = _example(message="Flow deleted successfully")

    message: str
