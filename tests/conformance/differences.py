"""Where a store is known to answer otherwise than Amazon DynamoDB documents (``docs/rulings.md#store-conformance``).

Keys are stores; values map a part of a test's name to what that store does instead.
"""

from __future__ import annotations

KNOWN: dict[str, dict[str, str]] = {
    "dynoxide": {
        "test_bad_condition[dynoxide-n = :v-": "accepts values no expression uses",
        "test_bad_condition[dynoxide-n < :v-": "orders booleans",
        "test_bad_condition[dynoxide-attribute_type(": "accepts unknown type names",
        "test_bad_condition[dynoxide-101 candidates]": "has no limit of candidates",
        "test_invalid_value[dynoxide-no such type]": "ignores unknown types",
        "test_bad_condition[dynoxide-n = n-": "compares an operand with itself",
        "test_range_condition[dynoxide-sk = :v-": "knows key conditions only with the partition first",
        "test_range_condition[dynoxide-begins_with(sk": "begins_with on keys ignores case",
        "test_bad_query[dynoxide-start elsewhere]": "starts anywhere",
        "test_bad_query[dynoxide-wrong type]": "finds nothing instead of refusing a key of another type",
        "test_bad_query[dynoxide-empty key]": "finds nothing instead of refusing an empty key",
        "test_transact_get[dynoxide]": "adds the keys to a projection",
        "test_update[dynoxide-beyond the end]": "refuses an index beyond a list's end",
        "test_update[dynoxide-two beyond the end]": "refuses an index beyond a list's end",
        "test_update[dynoxide-remove elements]": "shifts a list between two removals",
        "test_bad_update[dynoxide-REMOVE absent.a-": "removes below a missing attribute",
    },
    "moto": {
        "test_round_trip[moto-document]": "loses the size of nested documents with empty names",
        "test_condition_on_nothing[moto-size(v)": "fails on the size of nothing",
        "test_transact_get[moto]": "ignores projections",
    },
}


def known(store: str, test: str) -> str | None:
    """What ``store`` is known to do instead in a test, if anything."""
    return next((reason for part, reason in KNOWN.get(store, {}).items() if part in test), None)
