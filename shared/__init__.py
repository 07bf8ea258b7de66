"""Signalbox: one control room for automated work."""
