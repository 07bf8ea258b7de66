"""Every setting of the system, typed, in one place. Each is a flag of ``scripts/serve`` or ``SIGNALBOX_<NAME>``."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """Defaults are those of the embedded system; template.yaml sets the ones AWS needs."""

    model_config = SettingsConfigDict(env_prefix="SIGNALBOX_", frozen=True, extra="ignore")

    adapter: Literal["embedded", "aws"] = Field("embedded", description="Which adapters stand behind the ports.")
    host: str = Field("127.0.0.1", description="Address the embedded server listens on.")
    port: int = Field(8080, ge=0, le=65535, description="Port the embedded server listens on; 0 picks a free one.")
    data: Path = Field(Path("data"), description="Folder of the embedded system: store, blobs, master key.")
    public_url: str = Field("", description="Base URL callers use; never taken from the Host header.")
    allow_hosts: list[str] = Field(
        [], description="Hosts, networks and host:port patterns flows may call although private."
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        "INFO", description="Lowest level of the server's own log; `scripts/serve` sets WARNING where nothing is set."
    )
    workers: int = Field(
        16, ge=1, le=256, description="Executions of one organisation the embedded driver advances at once."
    )
    script_workers: int = Field(
        2, ge=1, le=64, description="Processes that evaluate scripts of one account at once; twice as many in all."
    )
    slice_seconds: float = Field(60.0, gt=0, description="Time one advance may run before it yields.")
    execution_days: float = Field(300.0, gt=0, le=300, description="Days after which an execution expires.")
    max_visits: int = Field(10_000, ge=1, description="Node visits after which an execution fails.")
    token_secret: SecretStr | None = Field(
        None, description="Signing secret of session tokens; made on first start when embedded."
    )
    token_secret_id: str = Field("", description="Secrets Manager id of the signing secret (AWS).")
    token_hours: float = Field(24.0, gt=0, description="Life of a session token.")
    open_signup: bool = Field(True, description="Whether anybody may create an account.")
    bootstrap_secret: str = Field(
        "", description="Secrets Manager id of the first administrator's one-time token (AWS)."
    )
    lockout_failures: int = Field(5, ge=1, description="Failed log-ins before an account is locked.")
    lockout_seconds: int = Field(300, ge=1, description="How long a lock lasts.")
    hmac_required: bool = Field(False, description="Whether requests with an API key must be signed.")
    hmac_max_age_seconds: int = Field(
        300, ge=1, description="How far a signature's time may be from the server's, either way."
    )
    hmac_grace_hours: float = Field(24.0, ge=0, description="How long a rotated key's former secret goes on verifying.")
    settle_mode: Literal["headroom", "strict"] = Field(
        "headroom", description="Whether spend above a reservation may use what is left of the budget."
    )
    plan_enforcement: bool = Field(False, description="Whether the limits of plans are enforced.")
    default_plan: str = Field("growth", description="Plan of new organisations.")
    org_requests_per_second: int = Field(0, ge=0, description="Gate calls of an organisation per second; 0: no limit.")
    address_requests_per_minute: int = Field(
        0, ge=0, description="Requests of one address per minute on public routes; 0: no limit."
    )
    github_url: str = Field("https://github.com", description="Base URL of GitHub's sign-in.")
    github_api_url: str = Field("https://api.github.com", description="Base URL of GitHub's API.")
    github_client_id: str = Field(
        "", description="Client id of the GitHub application; without one there is no sign-in."
    )
    github_client_secret: SecretStr | None = Field(None, description="Client secret of the GitHub application.")
    google_url: str = Field("https://oauth2.googleapis.com", description="Base URL of Google's token endpoint.")
    google_accounts_url: str = Field(
        "https://accounts.google.com", description="Base URL of Google's sign-in; also the issuer of its ID tokens."
    )
    google_keys_url: str = Field(
        "https://www.googleapis.com/oauth2/v3/certs", description="Where the keys of Google's ID tokens are."
    )
    google_client_id: str = Field(
        "", description="Client id of the Google application; without one there is no sign-in."
    )
    google_client_secret: SecretStr | None = Field(None, description="Client secret of the Google application.")
    mail_sender: str = Field("signalbox@localhost", description="From whom mail comes.")
    smtp_host: str = Field("", description="Mail server; without one mail is written into the folder mail of the data.")
    smtp_port: int = Field(587, ge=1, le=65535, description="Port of the mail server.")
    smtp_username: str = Field("", description="User name at the mail server.")
    smtp_password: SecretStr | None = Field(None, description="Password at the mail server.")
    max_body_bytes: int = Field(4 * 1024 * 1024, ge=1024, description="Largest request body.")
    table_prefix: str = Field("signalbox", description="Start of every table name.")
    blob_bucket: str = Field("", description="S3 bucket of large values (AWS).")
    kms_key: str = Field("", description="KMS key of secrets (AWS).")
    driver_arn: str = Field("", description="State machine that drives executions (AWS).")
    first_driver_arn: str = Field(
        "", description="Express state machine that executions start on (AWS); without one they start on the other."
    )
    websocket_url: str = Field("", description="Management endpoint of the WebSocket API (AWS).")


UNSIGNED = (
    "Requests with an API key need not be signed, so whoever sees a key can use it; set SIGNALBOX_HMAC_REQUIRED=true"
)
"""What is said where ``hmac_required`` is off and others can reach the deployment."""

_current: Settings | None = None


def settings() -> Settings:
    """The settings of this process, read once from the environment."""
    global _current
    if _current is None:
        _current = Settings()
    return _current


def use_settings(value: Settings | None) -> None:
    """Replace the settings of this process; None reads the environment again."""
    global _current
    _current = value
