"""Why a gateway cannot be spoken to, in words for people. No IO here."""

from __future__ import annotations

from websockets.exceptions import InvalidStatus

from omni.adapters.openclaw.frames import Away, Refused, mapping, text_of
from omni.adapters.openclaw.settings import Settings

PAIRING = "needs_pairing"
GONE = "gone"
BARRED = frozenset({PAIRING, "unauthorised"})  # no waiting helps: a person has to do something
DEVICE_CODES = ("DEVICE_", "AUTH_DEVICE_TOKEN")
TOKEN_WORDS = ("unauthorized", "invalid or missing token")  # the gateway's own, and what a Moltworker makes of them


def turned_away(settings: Settings, refusal: Refused) -> Away:
    """Why the gateway does not let us in, and what a person can do."""
    url, code, words = settings.url, refusal.code, refusal.message.lower()
    if code in {"PAIRING_REQUIRED", "NOT_PAIRED"} and "identity required" not in words:
        return Away(
            f"OpenClaw's gateway at {url} does not know this device yet: {_pairing(settings, refusal)}", PAIRING
        )
    if "PROTOCOL" in code or "protocol mismatch" in words:
        low, high = settings.protocols
        told = f"OpenClaw's gateway at {url} speaks another protocol than {low} to {high}: {refusal.message}"
        return Away(f"{told}; see `options.protocols`", "protocol")
    if code.startswith("AUTH_") or any(each in words for each in TOKEN_WORDS):
        told = f"OpenClaw's gateway at {url} does not accept the token: {refusal.message}"
        name = "MOLTBOT_GATEWAY_TOKEN" if settings.admin_url else "gateway.auth.token"
        return Away(f"{told}; set `options.token` to its {name}", "unauthorised")
    return Away(f"OpenClaw's gateway at {url} refused the connection: {refusal.message}", "refused")


def spoils_token(refusal: Refused) -> bool:
    """Whether the token that pairing gave is worth nothing any more."""
    return refusal.code.startswith(DEVICE_CODES) or "device token" in refusal.message.lower()


def _pairing(settings: Settings, refusal: Refused) -> str:
    """How a person lets this device in."""
    id_ = text_of(mapping(refusal.fault.details).get("requestId")) or "REQUEST_ID"
    if settings.admin_url:
        return f"approve request {id_} on {settings.admin_url}, or run `openclaw devices approve {id_}` there"
    return f"run `openclaw devices approve {id_}` there"


def unreached(settings: Settings, error: Exception) -> Away:
    """Why there is no connection, as far as the failure itself tells."""
    url = settings.url
    start = ": start it with `openclaw gateway run`" if settings.near else ""
    if isinstance(error, ConnectionRefusedError):
        return Away(f"OpenClaw's gateway at {url} refused the connection{start}")
    if isinstance(error, InvalidStatus):
        status = error.response.status_code
        kind = "unauthorised" if status in {401, 403} else "offline"
        return Away(f"what is at {url} answered HTTP {status} and is no gateway that can be spoken to", kind)
    if isinstance(error, TimeoutError):
        return Away(f"OpenClaw's gateway at {url} did not answer within {settings.connect_s:g} s{start}")
    return Away(f"OpenClaw's gateway at {url} cannot be reached: {str(error) or type(error).__name__}{start}")
