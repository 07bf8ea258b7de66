"""Identity put together."""

from __future__ import annotations

from dataclasses import dataclass

from shared.identity.accounts import Accounts
from shared.identity.addresses import Addresses
from shared.identity.authentication import Authenticator
from shared.identity.deletion import CleanupHook, Deletion
from shared.identity.lockout import Lockout
from shared.identity.options import IdentityOptions
from shared.identity.orgs import ensure_default_org
from shared.identity.passwords import Passwords
from shared.identity.sessions import Sessions
from shared.identity.tokens import Tokens


@dataclass(frozen=True, slots=True)
class Identity:
    """The services of identity, sharing one token secret and one pool of password hashers."""

    accounts: Accounts
    sessions: Sessions
    authenticator: Authenticator
    tokens: Tokens
    deletion: Deletion
    addresses: Addresses

    @classmethod
    def build(
        cls, token_secret: bytes, options: IdentityOptions | None = None, passwords: Passwords | None = None
    ) -> Identity:
        """Identity over the installed store. ``token_secret`` has at least 32 bytes."""
        options, passwords = options or IdentityOptions(), passwords or Passwords()
        tokens, deletion = Tokens(token_secret), Deletion()
        lockout = Lockout(token_secret, failures=options.lockout_failures, seconds=options.lockout_seconds)
        sessions = Sessions(tokens, passwords, lockout, options)
        addresses = Addresses(token_secret, options.address_requests_per_minute)
        accounts = Accounts(passwords, deletion, options)
        return cls(accounts, sessions, Authenticator(tokens, sessions), tokens, deletion, addresses)

    def prepare(self) -> None:
        """Create what exists from the start: the default org."""
        ensure_default_org()

    def add_cleanup(self, hook: CleanupHook) -> None:
        """Have ``hook`` remove a domain's data when an account goes."""
        self.deletion.hooks.append(hook)

    def resume_deletions(self) -> int:
        """Finish deletions that a crash interrupted; how many. The sweep calls it."""
        waiting = self.deletion.pending()
        for going in waiting:
            self.deletion.finish(going)
        return len(waiting)
