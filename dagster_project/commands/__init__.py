"""The commands of `envloom`, a module each; `dagster_project.cli` puts them together."""
