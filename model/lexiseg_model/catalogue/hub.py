"""Whether the model hub can be asked; what is fetched from it knows its own names."""

from __future__ import annotations

from huggingface_hub import constants, get_session

REACH_SECONDS = 5.0  # to find out whether the hub answers; its client alone would try for most of a minute


def why_out_of_reach() -> str | None:
    """Asks the hub for its front page; None when it answers, else why there is no answer."""
    # Absent from older versions, which have a constant alone.
    if getattr(constants, "is_offline_mode", lambda: constants.HF_HUB_OFFLINE)():
        return "HF_HUB_OFFLINE is set"
    try:
        get_session().head(constants.ENDPOINT, timeout=REACH_SECONDS)
    except Exception as error:  # transports differ by version of the hub's client
        return f"{constants.ENDPOINT} does not answer: {error}"
    return None
