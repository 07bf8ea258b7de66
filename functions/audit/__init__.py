"""What ran under governance, and the audit trail."""
