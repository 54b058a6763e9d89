"""Warehouse: DuckDB tables, ingest, lineage, queries, dataset export."""
