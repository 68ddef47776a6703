"""What all groups of settings have in common."""

from pydantic import BaseModel, ConfigDict


class SettingsModel(BaseModel):
    """Frozen settings; a key that is not known is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")
