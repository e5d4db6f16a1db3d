"""Where the report goes, and the page of a calibration."""

from dataclasses import dataclass

from curate_assets.config import CurationConfig
from curate_assets.video.calibration import Calibration
from curate_assets.video.report.calibration_page import render_calibration
from curate_assets.video.report.charts import histogram, standalone
from curate_assets.video.report.contents import ReportContents, gather
from curate_assets.video.report.page import render
from curate_assets.video.training_dataset import TRAINING_DATASET
from curate_resources.stage import Table
from curate_resources.tables import Tables

REPORT_PATH = "reports/dataset.html"
CALIBRATION_PATH = "reports/calibration.html"

DATASET_REPORT = Table(
    name="dataset_report",
    grain="page",
    keys=(),
    columns=(),
    description=(
        "One HTML page on the dataset as it stands: the funnel, distributions, kept and rejected clips by reason, "
        "duplicate groups side by side, failures."
    ),
)
"""Not a stored table: the page is all there is."""


@dataclass(frozen=True)
class Report:
    """A written report: where it is, what it says, and its distributions by title, as SVG documents."""

    uri: str
    contents: ReportContents
    charts: dict[str, str]


def write_report(tables: Tables, config: CurationConfig) -> Report:
    """Write the report of the tables as they stand."""
    contents = gather(tables, config, samples_in(tables))
    tables.storage.write(REPORT_PATH, render(contents).encode())
    charts = {each.title: standalone(histogram(each), 420) for each in contents.distributions if each.bars}
    return Report(tables.storage.uri(REPORT_PATH), contents, charts)


def write_calibration(tables: Tables, calibration: Calibration) -> str:
    """Write the page of a calibration; returns its URI."""
    tables.storage.write(CALIBRATION_PATH, render_calibration(tables, calibration).encode())
    return tables.storage.uri(CALIBRATION_PATH)


def samples_in(tables: Tables) -> int | None:
    """Samples of the training set; None if it was never made."""
    if not tables.exists(TRAINING_DATASET.name):
        return None
    return tables.read(TRAINING_DATASET, columns=["status"], where="status = 'ok'").num_rows
