"""What stands behind the ports: one package per place the system runs in."""
