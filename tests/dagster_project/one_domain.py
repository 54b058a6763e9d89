"""The synthesis of one domain as a run that the UI launches: `python -m tests.dagster_project.one_domain NAME [RUN]`.

With a run that failed, what failed of it and what came after. Prints the run's id and the steps that succeeded.
"""

import json
import sys

import dagster as dg
from dagster._core.definitions.assets.job.asset_job import IMPLICIT_ASSET_JOB_NAME
from dagster._core.definitions.reconstruct import ReconstructableRepository

from dagster_project.home import REPOSITORY, Home
from dagster_project.runner import SYNTHESIS


def main(domain: str, failed: str = "") -> None:
    Home.here().prepare()
    location = ReconstructableRepository.for_module("dagster_project.definitions", "defs", str(REPOSITORY))
    assets = [dg.AssetKey(asset) for asset in SYNTHESIS]
    with (
        dg.DagsterInstance.get() as instance,
        dg.execute_job(
            location.get_reconstructable_job(IMPLICIT_ASSET_JOB_NAME),
            instance,
            asset_selection=assets,
            tags={"dagster/partition": domain},
            reexecution_options=dg.ReexecutionOptions.from_failure(failed, instance) if failed else None,
        ) as result,
    ):
        steps = [event.step_key for event in result.all_events if event.is_step_success]
        print(json.dumps({"run": result.run_id, "success": result.success, "steps": steps}))


if __name__ == "__main__":
    main(*sys.argv[1:])
