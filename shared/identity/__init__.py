"""Who is calling: accounts, organisations, passwords, sessions, and the principal made of them."""
