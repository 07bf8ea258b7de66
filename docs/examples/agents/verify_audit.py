"""Recompute the hashes of an exported audit trail, with nothing of Signalbox: verify_audit.py FILE."""

import hashlib
import json
import sys
from collections.abc import Iterable
from pathlib import Path


def check(lines: Iterable[str]) -> tuple[int, str]:
    """How many entries there are, and the last one's hash. Raises ValueError for the first that does not fit."""
    count, previous = 0, None
    for line in lines:
        entry = json.loads(line)
        claimed = entry.pop("current_event_hash")
        # The first line of an export follows an entry that need not be in it; the very first follows 64 zeros.
        if previous is not None and entry["previous_event_hash"] != previous:
            raise ValueError(f"entry {count + 1} ({entry['id']}) does not follow the one before it")
        text = json.dumps(entry, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        previous = hashlib.sha256((entry["previous_event_hash"] + text).encode("utf-8", "backslashreplace")).hexdigest()
        if previous != claimed:
            raise ValueError(f"entry {count + 1} ({entry['id']}) is not what it was")
        count += 1
    return count, previous or ""


if __name__ == "__main__":
    with Path(sys.argv[1]).open(encoding="utf-8", newline="\n") as file:
        print(*check(file))
