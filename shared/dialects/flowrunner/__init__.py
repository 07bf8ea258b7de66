"""FlowRunner: its flow files, and what its API shows of an execution. Source: FlowRunner API Reference."""

from shared.dialects.flowrunner.dialect import FlowRunnerDialect

__all__ = ["FlowRunnerDialect"]
