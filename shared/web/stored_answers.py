"""Answers kept for 24 hours, so that a repeated request gets the first one's.

    (no record) ──begin──▶ in progress ──finish──▶ answered ──24 h──▶ (no record)
         ▲                    │    │
         └──────release───────┘    └──lapse, or 60 s without an end: the worker died──▶ the next attempt takes over

Source: draft-ietf-httpapi-idempotency-key-header; docs/rulings.md#idempotency-key.
"""

from __future__ import annotations

from dataclasses import dataclass

from shared.kit import clock, crypto, ids, json
from shared.kit.errors import Conflict, Unprocessable
from shared.store.models.idempotency import IdempotencyRecord
from shared.store.transaction import ConditionFailed, Transaction, put_if_absent, read, update_if

KEPT_MS = 24 * 3600 * 1000
IN_PROGRESS_MS = 60_000
LARGEST_ANSWER = 300 * 1024
"""Larger answers are not kept: a stored item has 400 KB at most."""


@dataclass(frozen=True, slots=True)
class Begun:
    """An attempt that is ours to carry out; ``result_id`` (UUIDv7) is the same for every attempt of the request."""

    attempt: str
    result_id: str


@dataclass(frozen=True, slots=True)
class StoredAnswer:
    """What was answered: status, headers and body."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes


class StoredAnswers:
    """The store of answers, encrypted: they may carry tokens."""

    def __init__(self, secret: bytes) -> None:
        self._key = crypto.derive(secret, "stored answers")

    def begin(self, pk: str, sk: str, fingerprint: str) -> StoredAnswer | Begun:
        """The answer given before, or an attempt that is ours to carry out.

        Raises Unprocessable when the key was used for another request, Conflict while that request is being answered.
        """
        while True:
            now, attempt = clock.now_ms(), ids.uuid4()
            record = IdempotencyRecord(
                pk,
                sk,
                fingerprint=fingerprint,
                attempt=attempt,
                result_id=ids.uuid7(),
                status=0,
                lapses_ms=now + IN_PROGRESS_MS,
                ttl=(now + KEPT_MS) // 1000,
            )
            if put_if_absent(record):
                return Begun(attempt, record.result_id)
            known = read(IdempotencyRecord, pk, sk)
            if known is not None and known.fingerprint != fingerprint:
                raise Unprocessable("This Idempotency-Key was used for another request")
            if known is not None and known.status:
                return self._open(known)
            if known is not None and known.lapses_ms > now:
                raise Conflict("The request with this Idempotency-Key is still being answered")
            if self._take_over(record, known, now):
                return Begun(attempt, record.result_id)

    def _take_over(self, record: IdempotencyRecord, known: IdempotencyRecord | None, now: int) -> bool:
        """Replace a record whose worker died, or whose time to live is over."""
        if known is None:
            still = IdempotencyRecord.pk.does_not_exist() | (IdempotencyRecord.ttl <= now // 1000)
        else:
            record.result_id = known.result_id
            still = IdempotencyRecord.attempt == known.attempt
        try:
            Transaction().put(record, still).commit()
        except ConditionFailed:
            return False
        return True

    def finish(self, pk: str, sk: str, attempt: str, answer: StoredAnswer) -> None:
        """Keep the answer, unless another attempt took over."""
        text = json.dumpb({"headers": answer.headers, "body": answer.body.decode("latin-1")})
        record = IdempotencyRecord(pk, sk)
        actions = [
            IdempotencyRecord.status.set(answer.status),
            IdempotencyRecord.sealed.set(crypto.seal(self._key, text, _context(pk, sk))),
        ]
        update_if(record, actions, IdempotencyRecord.attempt == attempt)

    def release(self, pk: str, sk: str, attempt: str) -> None:
        """Forget the attempt: its answer is not one to repeat."""
        try:
            Transaction().delete(IdempotencyRecord(pk, sk), IdempotencyRecord.attempt == attempt).commit()
        except ConditionFailed:
            # Another attempt took over; its record is its own.
            return

    def lapse(self, pk: str, sk: str, attempt: str) -> None:
        """Let the next attempt begin at once, with the same ``result_id``: this one failed and may have done a part."""
        record = IdempotencyRecord(pk, sk)
        update_if(record, [IdempotencyRecord.lapses_ms.set(0)], IdempotencyRecord.attempt == attempt)

    def _open(self, record: IdempotencyRecord) -> StoredAnswer:
        text = json.loads(crypto.unseal(self._key, record.sealed, _context(record.pk, record.sk)))
        headers = [(str(name), str(value)) for name, value in text["headers"]]
        return StoredAnswer(int(record.status), headers, text["body"].encode("latin-1"))


def _context(pk: str, sk: str) -> bytes:
    return f"{pk}\n{sk}".encode()
