"""Datasets, files, their columns and their luminosity blocks."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "datasets",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("name", sa.String(128), nullable=False),
        sa.Column("format", sa.String(16), nullable=False),
        sa.Column("parent_id", sa.Integer),
        sa.Column("revision", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_datasets"),
        sa.UniqueConstraint("name", name="uq_datasets_name"),
        sa.ForeignKeyConstraint(
            ["parent_id"], ["datasets.id"], name="fk_datasets_parent_id", ondelete="RESTRICT"
        ),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_datasets_parent_id", "datasets", ["parent_id"])
    op.create_table(
        "notes",
        sa.Column("dataset_id", sa.Integer, nullable=False),
        sa.Column("key", sa.String(64), nullable=False),
        sa.Column("value", sa.JSON, nullable=False),
        sa.PrimaryKeyConstraint("dataset_id", "key", name="pk_notes"),
        sa.ForeignKeyConstraint(
            ["dataset_id"], ["datasets.id"], name="fk_notes_dataset_id", ondelete="CASCADE"
        ),
    )
    op.create_table(
        "columnsets",
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("columns", sa.JSON, nullable=False),
        sa.PrimaryKeyConstraint("digest", name="pk_columnsets"),
    )
    op.create_table(
        "files",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("dataset_id", sa.Integer, nullable=False),
        sa.Column("url", sa.Text, nullable=False),
        sa.Column("status", sa.String(8), nullable=False),
        sa.Column("lfn", sa.Text),
        sa.Column("uuid", sa.String(36)),
        sa.Column("size_bytes", sa.BigInteger),
        sa.Column("entries", sa.BigInteger),
        sa.Column("tree", sa.Text),
        sa.Column("columnset", sa.String(64)),
        sa.Column("cluster_stops", sa.JSON),
        sa.Column("mtime_seconds", sa.BigInteger),
        sa.Column("lumi_ranges", sa.Integer, nullable=False),
        sa.Column("error", sa.String(64)),
        sa.Column("message", sa.Text),
        sa.Column("remedy", sa.Text),
        sa.PrimaryKeyConstraint("id", name="pk_files"),
        sa.UniqueConstraint("dataset_id", "url", name="uq_files_dataset_id_url"),
        sa.UniqueConstraint("dataset_id", "uuid", name="uq_files_dataset_id_uuid"),
        sa.ForeignKeyConstraint(
            ["dataset_id"], ["datasets.id"], name="fk_files_dataset_id", ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(["columnset"], ["columnsets.digest"], name="fk_files_columnset"),
    )
    op.create_index("ix_files_uuid", "files", ["uuid"])
    op.create_index("ix_files_columnset", "files", ["columnset"])
    op.create_index(
        "ix_files_dataset_id_status_lumi_ranges", "files", ["dataset_id", "status", "lumi_ranges"]
    )
    op.create_index("ix_files_dataset_id_columnset", "files", ["dataset_id", "columnset"])
    op.create_table(
        "lumis",
        sa.Column("file_id", sa.Integer, nullable=False),
        sa.Column("run", sa.BigInteger, nullable=False),
        sa.Column("first", sa.BigInteger, nullable=False),
        sa.Column("last", sa.BigInteger, nullable=False),
        sa.Column("span", sa.Integer, nullable=False),
        sa.Column("dataset_id", sa.Integer, nullable=False),
        sa.PrimaryKeyConstraint("file_id", "run", "first", name="pk_lumis"),
        sa.ForeignKeyConstraint(
            ["file_id"], ["files.id"], name="fk_lumis_file_id", ondelete="CASCADE"
        ),
        sqlite_with_rowid=False,
    )
    op.create_index(
        "ix_lumis_search", "lumis", ["dataset_id", "run", "span", "first", "last", "file_id"]
    )
