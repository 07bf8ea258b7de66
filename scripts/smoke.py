"""A short journey through a running Signalbox: ``python -m scripts.smoke URL [options]``.

Signs up an agent's owner, asks the gate, reports, is refused, approves, kills, and reads what was written down; then
another account signs in, keeps a secret, makes flows, runs them, waits, answers a question, cancels, reads logs and
frames. Each step prints one line; the first that goes wrong ends the journey with exit code 1.
"""

from __future__ import annotations

import argparse
import sys

from scripts.smoking import agents, flows
from scripts.smoking.caller import Caller, Failed


def main() -> int:
    """Walk the journey; 0 when every step went well."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url")
    parser.add_argument("--host", default="", help="Host header of every request")
    parser.add_argument("--bootstrap-token", default="", help="the first sign-up's one-time token")
    parser.add_argument("--websocket", default="", help="address of WebSockets if another, to which a path is appended")
    chosen = parser.parse_args()
    websocket = chosen.websocket or chosen.url.rstrip("/").replace("http", "ws", 1)
    caller = Caller(chosen.url, chosen.host, websocket)
    try:
        team = agents.register(caller, chosen.bootstrap_token)
        agents.journey(team)
        flows.journey(*flows.sign_in(team.person, closed=bool(chosen.bootstrap_token)))
    except Failed as failed:
        print(f"FAILED  {failed}")
        return 1
    print("The journey is complete.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
