"""Columns that users define by an expression over other columns."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Make the table of definitions."""
    op.create_table(
        "definitions",
        sa.Column("dataset_id", sa.Integer, nullable=False),
        sa.Column("name", sa.String(128), nullable=False),
        sa.Column("expression", sa.Text, nullable=False),
        sa.Column("author", sa.String(256), nullable=False),
        sa.Column("doc", sa.Text, nullable=False),
        sa.Column("unit", sa.String(64), nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("created_seconds", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("dataset_id", "name", name="pk_definitions"),
        sa.ForeignKeyConstraint(
            ["dataset_id"], ["datasets.id"], name="fk_definitions_dataset_id", ondelete="CASCADE"
        ),
    )
