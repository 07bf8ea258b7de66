"""The bottom layer: errors, time, ids, JSON, settings and logging. Imports nothing of ours."""
