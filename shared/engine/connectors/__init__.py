"""How node kinds speak to mail servers and databases, over connections the outbound guard has checked."""
