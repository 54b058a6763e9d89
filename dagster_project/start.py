"""Where the `envloom` command starts: one clear message in an installation that has not all that the command needs."""

import sys

_MISUSED = 2


def main() -> None:
    """Run the command. Exits 2 where the libraries of the extra `dagster` are not installed."""
    try:
        from dagster_project.cli import app
    except ModuleNotFoundError as error:
        if error.name is None or error.name.startswith("dagster_project."):
            raise
        message = f"envloom needs `pip install envloom[dagster]`: there is no module {error.name}."
        print(message, file=sys.stderr)
        sys.exit(_MISUSED)
    app()
