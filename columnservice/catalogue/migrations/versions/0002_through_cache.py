"""Whether a file may be read through a cache: not after it was replaced under its name."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Add the column; what is registered may be read through a cache."""
    column = sa.Column("through_cache", sa.Boolean, nullable=False, server_default=sa.true())
    op.add_column("files", column)
