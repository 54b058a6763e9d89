"""A finished folder to the Hugging Face hub, with its own client. The only part of an export that needs a network."""

import os
from pathlib import Path

from serving.credentials import redacted, split_address
from warehouse.errors import WarehouseError


class PushFailed(WarehouseError):
    """The folder is there, but not on the hub: why, and what to do."""


def token_from(variable: str) -> str:
    """The token that the environment variable holds. Raises PushFailed."""
    token = os.environ.get(variable, "").strip()
    if not token:
        raise PushFailed(
            f"the environment variable {variable} holds no token. Make one with write access in the hub's settings and "
            f"export {variable}=…, or name another variable with --token-variable."
        )
    return token


def push(folder: Path, repository: str, token: str, *, private: bool = True, endpoint: str | None = None) -> str:
    """Upload the folder as the dataset `repository` (`name` or `organisation/name`), and return its address.

    Data files of an earlier push that are not in the folder any more are deleted. `endpoint` is the hub's address where
    it is not that of HF_ENDPOINT. Raises PushFailed.
    """
    import httpx2  # of huggingface_hub, which does not wrap its errors
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, OfflineModeIsEnabled

    hub = HfApi(endpoint=endpoint, token=token)
    address, credentials = split_address(hub.endpoint)
    secrets = (str(token), *credentials.secrets)
    try:
        created = hub.create_repo(repository, repo_type="dataset", private=private, exist_ok=True)
        hub.upload_folder(
            repo_id=created.repo_id,
            folder_path=folder,
            repo_type="dataset",
            commit_message=f"Export {folder.name}",
            delete_patterns="*.parquet",
        )
    except OfflineModeIsEnabled as error:
        raise PushFailed(f"the hub's client is set to stay offline. Unset HF_HUB_OFFLINE. {_kept(folder)}") from error
    except HFValidationError as error:
        raise PushFailed(f"{repository}: no name of a dataset ({error}). Use name or organisation/name.") from error
    except HfHubHTTPError as error:
        raise PushFailed(
            f"{repository}: the hub at {address} refused ({redacted(str(error), secrets)}). Check that the token may "
            f"write there. {_kept(folder)}"
        ) from None  # the cause may quote the token
    except httpx2.HTTPError as error:
        reason = redacted(str(error), secrets)
        raise PushFailed(f"{repository}: the hub at {address} cannot be reached ({reason}). {_kept(folder)}") from None
    return str(created)


def _kept(folder: Path) -> str:
    return f"The dataset lies in {folder}: push again, or upload it by hand."
