"""List prices, in one table. Free tiers, data transfer, storage and computing time are left out: see docs/costs.md."""

from __future__ import annotations

from dataclasses import dataclass

REGION = "us-east-1"
AS_OF = "November 2026"


@dataclass(frozen=True, slots=True)
class Price:
    """Dollars for a million of something. ``source`` is the page of the list price."""

    of: str
    per_million: float
    source: str


PRICES = {
    "http": Price("HTTP API request", 1.00, "Amazon API Gateway pricing, HTTP APIs"),
    "frames": Price("WebSocket message", 1.00, "Amazon API Gateway pricing, WebSocket APIs"),
    "invocations": Price("Lambda invocation", 0.20, "AWS Lambda pricing, requests"),
    "express_runs": Price("Express run", 1.00, "AWS Step Functions pricing, Express Workflows, requests"),
    "transitions": Price("state transition", 25.00, "AWS Step Functions pricing, Standard Workflows"),
    "read_units": Price("read request unit", 0.125, "Amazon DynamoDB pricing, on-demand capacity"),
    "write_units": Price("write request unit", 0.625, "Amazon DynamoDB pricing, on-demand capacity"),
    "blob_puts": Price("S3 PUT", 5.00, "Amazon S3 pricing, S3 Standard"),
    "blob_gets": Price("S3 GET", 0.40, "Amazon S3 pricing, S3 Standard"),
    "key_requests": Price("KMS request", 3.00, "AWS Key Management Service pricing, symmetric keys"),
}
"""Price by the name of the count in a :class:`~scripts.costing.bill.Bill`."""
