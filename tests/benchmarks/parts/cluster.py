"""A study on a Ray cluster of two nodes that loses one of them in the middle."""

from __future__ import annotations

import time

from harness.figures import figure
from harness.litefront_runs import litefront_run
from harness.shared_runs import SharedRuns
from harness.tiny_study import write_tiny_study

from litefront.search.cell_record import CellState
from litefront.search.ledger import totals_by_stage
from litefront.search.run_directory import RunDirectory, read_json_lines
from litefront.search.study_results import StudyResults

__all__ = ["measure"]

_CELLS_BEFORE = 8
_POLL_S = 0.2


def measure(runs: SharedRuns) -> None:
    """Prints whether the study was finished, and what the lost node cost."""
    from ray.cluster_utils import Cluster

    study = write_tiny_study(runs.folder / "studies" / "cluster", runs.extent.tiny_space)
    directory = RunDirectory(runs.folder / "cluster")
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "resources": {"device:host": 1}})
    try:
        second = cluster.add_node(num_cpus=1)
        with litefront_run(study, directory.path, "--address", cluster.address) as process:
            while len(read_json_lines(directory.cells)) < _CELLS_BEFORE and process.poll() is None:
                time.sleep(_POLL_S)
            assert process.poll() is None, f"the run ended before a node could be killed; see {directory.path}.txt"
            before = {line["record"]["cell"] for line in read_json_lines(directory.cells)}
            cluster.remove_node(second, allow_graceful=False)
            code = process.wait()
    finally:
        cluster.shutdown()
    _tell(directory, before, code)


def _tell(directory: RunDirectory, before: set[str], code: int) -> None:
    results = StudyResults.read(directory)
    cells = {record.cell for record in results.records}
    failed = sum(record.state is CellState.FAILED for record in results.records)
    repeated = sum(entry.repeated for entry in totals_by_stage(results.ledger).values())
    figure("exit code of the run that lost a node", code, "", "0", code == 0)
    intended = results.context.cells
    figure("cells of the run that lost a node", len(cells), "cells", f"{intended}", len(cells) == intended)
    figure("cells that failed in it", failed, "cells", "0", failed == 0)
    figure("finished cells lost with the node", len(before - cells), "cells", "0", not before - cells)
    figure("stages run twice although they had ended", repeated, "stages", "0", repeated == 0)
