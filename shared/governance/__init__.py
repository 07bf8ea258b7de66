"""Governing what agents do: the gate and its money, policies, approvals, keys, audit, alerts and the kill switch.

Each name is loaded when it is first asked for: the gate's function loads none of what only the dashboard needs.
"""
