"""The configuration itself: whether it can be used, what is odd about it, and which secrets are absent."""

from __future__ import annotations

from collections.abc import Iterator

from omni.config import user_file
from omni.ops.doctor.catalogue import fine, found
from omni.ops.doctor.finding import Finding
from omni.ops.doctor.scene import Scene

_ABSENT = "so this secret is absent"


def configuration(scene: Scene) -> Iterator[Finding]:
    """What `omni config check` says, and what is only absent here."""
    loaded = scene.loaded
    if scene.refusal is not None:
        yield found("config.invalid", scene.refusal.message, scene.refusal.hint or "omni config check")
        return
    if loaded.path is None:
        says = f"no configuration file: neither ./config.yaml nor {user_file()}; the embedded defaults are used"
        yield found("config.none", says, "omni init, which writes one")
    odd = [each for each in loaded.warnings if _ABSENT not in each]
    for each in odd:
        yield found("config.warning", each, "omni config check, after you have corrected it")
    for name in dict.fromkeys(loaded.absent):
        says = f"the variable {name} is not set here, so the secret that it holds is absent"
        yield found("config.secret_absent", says, f"export {name}=…, where the daemon is started; then omni doctor")
    if loaded.path and not (odd or loaded.absent):
        yield fine("config", f"{loaded.path}: nothing odd")
