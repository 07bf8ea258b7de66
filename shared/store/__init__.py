"""Stored state: PynamoDB models, transactions, the embedded engine, the change stream, blobs."""
